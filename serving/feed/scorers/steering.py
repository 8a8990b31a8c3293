"""What the viewer asked for in words: nearness to a wish adds for "more" and takes off for "less"."""

from dataclasses import dataclass

import numpy as np

from serving.columns import Floats
from serving.feed.candidates import Candidates
from serving.feed.query import Query

# Below this cosine two sentences have nothing to do with each other; counted, it would push everything a little.
UNRELATED = 0.15


@dataclass(frozen=True)
class Steering:
    weight: float
    name: str = "steering"

    def score(self, query: Query, candidates: Candidates) -> Floats:
        near = np.maximum(0.0, candidates.embedded() @ query.wishes.vectors.T - UNRELATED)
        part: Floats = np.float32(self.weight) * (near @ query.wishes.weights)
        return part
