"""What a serving system has fresh by the minute, as scores: what is watched now, what with what, and what after what.

Counts that every watch adds to, and no training. Scores are logarithms, so that a weighted sum of them is a model.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.ranking.learner import Asked, Scores, seen_before
from models.retrieval.log import Rows, WatchLog
from models.retrieval.matrices import of_histories, of_log
from models.retrieval.windows import Chosen
from streams.features import Vector

# Of a count that has decayed to nothing something is left: more makes quiet hours say nothing, less makes one watch a hit.
FAINT = 0.2
# Added to mean cosines, of which most are below a tenth.
FAR = 0.01
# Watches after a video that count as following it, the nearer the more; and those before now that are followed.
FOLLOWING, FOLLOWED = 10, 30
# Watches a video seems to have been followed by beside its own: less trusts a pair that happened once.
DOUBT = 5.0
# The chance of each video to follow any, over the number of videos.
ANY = 0.3


class PopularNow:
    """`Learner` by counts of watches that halve in `half_life_ms`, None for never."""

    def __init__(self, name: str, half_life_ms: int | None) -> None:
        self.name = name
        self._half_life_ms = half_life_ms

    def learn(self, log: WatchLog, new: Chosen) -> None:
        """Count."""
        self._as_of = int(log.at.max(initial=0))
        self._counts = np.bincount(log.videos, self._left(self._as_of - log.at), minlength=len(log.video_ids))

    def scores(self, asked: Asked) -> Scores:
        """Return the logarithms of the counts as of when each is asked, (n, m)."""
        left = self._left(np.maximum(asked.at - self._as_of, 0))
        return np.log(left[:, None] * self._counts + FAINT).astype(np.float32)

    def _left(self, age: Rows) -> NDArray[np.float64]:
        return np.ones(len(age)) if self._half_life_ms is None else 0.5 ** (age / self._half_life_ms)


class WatchedTogether:
    """`Learner` by the mean cosine of videos' viewers to those of the `last` watched, None for all (Sarwar et al. 2001)."""

    def __init__(self, name: str, last: int | None = None) -> None:
        self.name = name
        self._last = last
        self._pairs = sparse.csr_matrix((0, 0), dtype=np.float32)

    def learn(self, log: WatchLog, new: Chosen) -> None:
        """Count the pairs of videos that the new watches make."""
        touched = np.unique(log.viewers()[new])
        whole = of_log(log.chosen(touched))
        before = whole.copy()
        before.data = (~new[np.isin(log.viewers(), touched)]).astype(np.float32)
        pairs = whole.T @ whole - before.T @ before
        pairs = (pairs - sparse.diags(pairs.diagonal())).tocsr()
        pairs.eliminate_zeros()
        self._pairs.resize(pairs.shape)
        self._pairs = self._pairs + pairs
        self._scale = sparse.diags((1 / np.sqrt(log.counts() + 1)).astype(np.float32))

    def scores(self, asked: Asked) -> Scores:
        """Return the logarithms of the means, (n, m)."""
        recent = [history if self._last is None else history[-self._last :] for history in asked.histories]
        watched = of_histories(recent, self._pairs.shape[0]) @ self._scale
        lengths = np.maximum([len(history) for history in recent], 1)[:, None]
        return np.asarray(np.log((watched @ self._pairs @ self._scale).toarray() / lengths + FAR), np.float32)


class WatchedNext:
    """`Learner` by the chance to be watched after the last 30, by who went from one to the other."""

    name = "watched_next"

    def __init__(self) -> None:
        self._followed = sparse.csr_matrix((0, 0), dtype=np.float32)

    def learn(self, log: WatchLog, new: Chosen) -> None:
        """Count what the new watches follow."""
        videos = len(log.video_ids)
        seen, watched = seen_before(log)[new], log.videos[new]
        ends = log.bounds[log.viewers()[new]] + seen
        counted = _at_once(ends, watched, videos)
        for apart in range(1, FOLLOWING + 1):
            has = seen >= apart
            steps = (log.videos[ends[has] - apart], watched[has])
            counted = counted + sparse.csr_matrix((np.full(int(has.sum()), 1 / apart, np.float32), steps), (videos, videos))
        self._followed.resize(counted.shape)
        self._followed = self._followed + counted
        totals = np.asarray(self._followed.sum(axis=1)).ravel()
        self._scale = sparse.diags((1 / (totals + DOUBT)).astype(np.float32))

    def scores(self, asked: Asked) -> Scores:
        """Return the logarithms of the chances, (n, m)."""
        videos = self._followed.shape[0]
        recent = [history[-FOLLOWED:] for history in asked.histories]
        watched = of_histories(recent, videos)
        watched.data = np.concatenate([_weights(len(history)) for history in recent])
        return np.asarray(np.log((watched @ self._scale @ self._followed).toarray() + ANY / videos), np.float32)


class LikeTitles:
    """`Learner` by the mean cosine of titles' embeddings, (m, d), to those of the `last` watched, None for all."""

    def __init__(self, name: str, embeddings: Vector, last: int | None = None) -> None:
        self.name = name
        self._embeddings, self._last = embeddings, last

    def learn(self, log: WatchLog, new: Chosen) -> None:
        """Take away what all titles that were watched share, and what is left makes directions."""
        apart = self._embeddings - self._embeddings[log.counts() > 0].mean(axis=0)
        self._units = apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-9)

    def scores(self, asked: Asked) -> Scores:
        """Return the means, (n, m)."""
        recent = [history if self._last is None else history[-self._last :] for history in asked.histories]
        lengths = np.maximum([len(history) for history in recent], 1)[:, None]
        means = of_histories(recent, len(self._units)) @ self._units / lengths
        return np.asarray(means @ self._units.T, np.float32)


def _weights(length: int) -> Vector:
    """Return how much each of so many watches counts, the last one most, of sum 1."""
    nearness = 1 / np.arange(length, 0, -1)
    return np.asarray(nearness / max(nearness.sum(), 1e-9), np.float32)


def _at_once(ends: Rows, watched: Rows, videos: int) -> sparse.csr_matrix:
    """Return what was watched in the same second, where the history of all ends at the same place: each follows the other."""
    seconds, at = np.unique(ends, return_inverse=True)
    together = sparse.csr_matrix((np.ones(len(at), np.float32), (at, watched)), (len(seconds), videos))
    pairs = together.T @ together
    return pairs - sparse.diags(pairs.diagonal())
