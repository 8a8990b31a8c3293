"""What the viewer asked for in words: a video about a wish gains by "more" and loses by "less"."""

from dataclasses import dataclass

import numpy as np

from models.viewers.steering import about
from serving.columns import Floats
from serving.feed.candidates import Candidates
from serving.feed.query import Query


@dataclass(frozen=True)
class Steering:
    weight: float
    name: str = "steering"

    def score(self, query: Query, candidates: Candidates) -> Floats:
        part: Floats = np.float32(self.weight) * (query.wishes.weights @ about(query.wishes.vectors, candidates.embedded()))
        return part
