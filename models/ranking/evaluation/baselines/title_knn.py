"""Videos whose titles mean what was watched: cosine to the mean of the titles' embeddings, of new videos as of old."""

from collections.abc import Sequence

import numpy as np

from models.ranking.evaluation.leave_one_out import Held, Scores
from models.retrieval.log import History, WatchLog
from streams.features import Vector


class TitleKnn:
    """`Recommender` by embeddings of titles, (m, d)."""

    name = "title_knn"

    def __init__(self, embeddings: Vector) -> None:
        self._embeddings = embeddings

    def fit(self, train: WatchLog, validation: Held) -> None:
        """Take away what all titles that were watched share, and what is left makes directions."""
        apart = self._embeddings - self._embeddings[train.counts() > 0].mean(axis=0)
        self._units = apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-9)

    def scores(self, histories: Sequence[History]) -> Scores:
        """Return the similarities, (viewers, m)."""
        means = np.stack([self._units[history.videos].mean(axis=0) for history in histories])
        similar: Scores = (means @ self._units.T).astype(np.float32)
        return similar
