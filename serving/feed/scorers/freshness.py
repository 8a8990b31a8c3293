"""How new a video is: 1 at its upload, halved each half-life."""

from dataclasses import dataclass

import numpy as np

from serving.catalogue import Catalogue
from serving.columns import Floats
from serving.feed.candidates import Candidates
from serving.feed.query import Query


@dataclass(frozen=True)
class Freshness:
    catalogue: Catalogue
    half_life_ms: float
    weight: float
    name: str = "freshness"

    def score(self, query: Query, candidates: Candidates) -> Floats:
        age_ms = np.maximum(0, query.now_ms - self.catalogue.columns.uploaded_at[candidates.rows])
        return np.float32(self.weight) * np.exp2(-age_ms / self.half_life_ms).astype(np.float32)
