"""How much the towers say that a video is wanted next."""

from dataclasses import dataclass

import numpy as np

from serving.columns import Floats
from serving.feed.candidates import Candidates
from serving.feed.query import Query

# Deviations above the average video that are worth three quarters of the whole weight: the best of 100,000 are four above.
MUCH = 3.0


def wanted(query: Query, candidates: Candidates) -> Floats:
    """Return by how many deviations each candidate, (n,), is wanted more than a video is on average; 0 without towers."""
    if query.wanted is None:
        return np.zeros(len(candidates), np.float32)
    return query.wanted.space.standing(candidates.rows, query.wanted.vector)


@dataclass(frozen=True)
class WantedScore:
    weight: float
    name: str = "wanted-next"

    def score(self, query: Query, candidates: Candidates) -> Floats:
        return np.asarray(self.weight * np.tanh(wanted(query, candidates) / MUCH), np.float32)
