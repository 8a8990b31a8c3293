"""A video seen before comes after every one that was not, however good it is."""

from dataclasses import dataclass

import numpy as np

from serving.columns import Floats, among
from serving.feed.candidates import Candidates
from serving.feed.query import Query

# More than all other parts can add up to.
PENALTY = 10.0


@dataclass(frozen=True)
class Again:
    name: str = "again"

    def score(self, query: Query, candidates: Candidates) -> Floats:
        return among(candidates.rows, query.seen).astype(np.float32) * np.float32(-PENALTY)
