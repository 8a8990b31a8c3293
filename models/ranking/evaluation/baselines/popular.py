"""The most watched videos, for everybody: of all time before the cut, or lately."""

from collections.abc import Sequence

import numpy as np

from models.ranking.evaluation.leave_one_out import Held, Scores
from models.retrieval.log import History, WatchLog

# A watch counts half as much as one three days later.
HALF_LIFE_MS = 3 * 86_400_000


class Popular:
    """`Recommender` by counts of watches."""

    name = "popular"

    def fit(self, train: WatchLog, validation: Held) -> None:
        """Count."""
        self._scores = train.counts().astype(np.float32)

    def scores(self, histories: Sequence[History]) -> Scores:
        """Return the counts, (viewers, m)."""
        return np.tile(self._scores, (len(histories), 1))


class Recent(Popular):
    """`Recommender` by counts that decay, as of the last watch before the cut."""

    name = "recent"

    def fit(self, train: WatchLog, validation: Held) -> None:
        """Count, the latest most."""
        weights = 0.5 ** ((train.at.max(initial=0) - train.at) / HALF_LIFE_MS)
        self._scores = np.bincount(train.videos, weights, minlength=len(train.video_ids)).astype(np.float32)
