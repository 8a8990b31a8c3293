"""How much the towers say that a video is wanted next, against the other candidates of the page."""

from dataclasses import dataclass

import numpy as np

from serving.columns import Floats
from serving.feed.candidates import Candidates
from serving.feed.query import Query


def wanted(query: Query, candidates: Candidates) -> Floats:
    """Return for each candidate, (n,), its score by the towers less the candidates' mean, by their deviation; 0 without towers.

    The scores are logarithms of odds but for a constant, and by how much they differ depends on how the towers were trained.
    """
    if query.wanted is None or len(candidates) == 0:
        return np.zeros(len(candidates), np.float32)
    scores = query.wanted.space.scores(candidates.rows, query.wanted.vector)
    centred: Floats = (scores - scores.mean()) / max(float(scores.std()), 1e-6)
    return centred


@dataclass(frozen=True)
class WantedScore:
    weight: float
    name: str = "wanted-next"

    def score(self, query: Query, candidates: Candidates) -> Floats:
        if query.wanted is None:
            return np.zeros(len(candidates), np.float32)
        odds = np.exp(-wanted(query, candidates))
        return np.asarray(self.weight / (1.0 + odds), dtype=np.float32)
