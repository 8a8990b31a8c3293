"""Videos that the same viewers watch: cosine of their viewers (Sarwar et al. 2001)."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from models.ranking.evaluation.leave_one_out import Held, Scores
from models.retrieval.log import History, WatchLog
from models.retrieval.matrices import of_histories, of_log


class ItemKnn:
    """`Recommender` by the summed cosines to what was watched."""

    name = "item_knn"

    def fit(self, train: WatchLog, validation: Held) -> None:
        """Compute the cosines, (m, m) sparse."""
        watched = of_log(train)
        lengths = np.sqrt(np.maximum(np.asarray(watched.sum(axis=0)).ravel(), 1))
        units = watched @ sparse.diags(1 / lengths)
        self._cosines = (units.T @ units).tocsr()
        self._cosines.setdiag(0)

    def scores(self, histories: Sequence[History]) -> Scores:
        """Return the sums, (viewers, m)."""
        summed: Scores = (of_histories(histories, self._cosines.shape[0]) @ self._cosines).toarray().astype(np.float32)
        return summed
