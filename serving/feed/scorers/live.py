"""A live room that is open now."""

from dataclasses import dataclass

import numpy as np

from serving.catalogue import Catalogue
from serving.columns import Floats
from serving.feed.candidates import Candidates
from serving.feed.query import Query


@dataclass(frozen=True)
class LiveRoom:
    catalogue: Catalogue
    weight: float
    name: str = "live-room"

    def score(self, query: Query, candidates: Candidates) -> Floats:
        return np.float32(self.weight) * self.catalogue.columns.live[candidates.rows].astype(np.float32)
