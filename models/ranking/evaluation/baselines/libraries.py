"""What well-kept libraries offer: rtrec's sparse linear method, implicit's factors and neighbours."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from models.ranking.evaluation.leave_one_out import Held, Scores
from models.retrieval.log import History, Rows, WatchLog
from models.retrieval.matrices import of_histories, of_log

# Viewers that two videos must share before one counts for the other.
SHARED = 2.0


class Rtrec:
    """`Recommender` by rtrec's SLIM (Ning and Karypis 2011): each video as a sparse sum of others, by elastic net.

    With the features of each problem chosen by neighbours, as rtrec offers for catalogues of more than a few thousand videos.
    """

    name = "rtrec"

    def __init__(self, *, neighbours: int = 50) -> None:
        self._neighbours = neighbours

    def fit(self, train: WatchLog, validation: Held) -> None:
        """Solve one problem a video."""
        from rtrec.models.internal.slim_elastic import SLIMElastic

        self._videos = len(train.video_ids)
        # By its default no coefficient is left of a log in which two videos share a handful of viewers.
        strength = SHARED / len(train.viewer_ids)
        self._model = SLIMElastic({"nn_feature_selection": self._neighbours, "alpha": strength})
        self._model.fit(of_log(train).tocsc())

    def update(self, log: WatchLog, videos: Rows) -> None:
        """Solve the problems of some videos anew, as rtrec does when watches of them come in."""
        self._model.alpha = SHARED / len(log.viewer_ids)
        self._model.partial_fit_items(of_log(log).tocsc(), videos.tolist())

    def scores(self, histories: Sequence[History]) -> Scores:
        """Return the sums, (viewers, m)."""
        watched = of_histories(histories, self._videos).astype(self._model.item_similarity.dtype)
        summed: Scores = np.asarray(self._model.predict_all(watched), np.float32)
        return summed


class Implicit:
    """`Recommender` by a model of implicit's: "als" (Hu, Koren and Volinsky 2008) or "bm25" neighbours."""

    def __init__(self, kind: str, *, seed: int = 0) -> None:
        self.name = f"implicit_{kind}"
        self._kind = kind
        self._seed = seed

    def fit(self, train: WatchLog, validation: Held) -> None:
        """Fit the library's model."""
        from implicit.als import AlternatingLeastSquares
        from implicit.nearest_neighbours import BM25Recommender

        self._videos = len(train.video_ids)
        self._model: Any = (
            AlternatingLeastSquares(factors=128, regularization=0.1, alpha=10.0, random_state=self._seed)
            if self._kind == "als"
            else BM25Recommender(K=200)
        )
        with warnings.catch_warnings():
            # That it makes a matrix of another kind of its own is said at every fit.
            warnings.simplefilter("ignore")
            self._model.fit(of_log(train), show_progress=False)

    def scores(self, histories: Sequence[History]) -> Scores:
        """Return what the model predicts, (viewers, m)."""
        watched = of_histories(histories, self._videos)
        if self._kind == "bm25":
            return np.asarray((watched @ self._model.similarity).todense(), np.float32)
        viewers = self._model.recalculate_user(np.arange(len(histories)), watched)
        predicted: Scores = np.asarray(viewers @ self._model.item_factors.T, np.float32)
        return predicted
