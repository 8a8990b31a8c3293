"""Nothing older than the feed shows: what has just come of age is still in the catalogue until it is next swept."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.catalogue import Catalogue
from serving.feed.candidates import Candidates
from serving.feed.query import Query


@dataclass(frozen=True)
class TooOld:
    catalogue: Catalogue
    max_age_ms: int
    name: str = "too-old"

    def keep(self, query: Query, candidates: Candidates) -> NDArray[np.bool_]:
        return self.catalogue.columns.uploaded_at[candidates.rows] > query.now_ms - self.max_age_ms
