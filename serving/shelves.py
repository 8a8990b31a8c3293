"""Lists that all viewers share and that are too dear to make for each: what is popular, what is fresh, what is new."""

import numpy as np
from numpy.typing import NDArray

from serving.catalogue import Catalogue
from serving.columns import Rows
from serving.settings import FeedSettings

_HOUR_MS = 3_600_000
_NONE: Rows = np.empty(0, dtype=np.int64)


class Shelves:
    """Rows of the catalogue, best first, renewed every few seconds; what came since is in `arrived`."""

    def __init__(self, catalogue: Catalogue, settings: FeedSettings) -> None:
        self._catalogue = catalogue
        self._size = settings.shelf_size
        self._half_life_ms = settings.freshness_half_life_h * _HOUR_MS
        self._cold = settings.cold_start
        self._fresh = _NONE
        self._new = _NONE, catalogue.vectors(_NONE)
        self.popular = _NONE
        self.average_rate = 0.0

    def renew(self, *, now_ms: int, rng: np.random.Generator) -> None:
        """Fill the shelves anew: some milliseconds at 100,000 videos, for a thread of its own."""
        columns = self._catalogue.columns
        rows = self._catalogue.alive()
        uploaded_at = columns.uploaded_at[rows]
        freshness = np.exp2(-np.maximum(0, now_ms - uploaded_at) / self._half_life_ms)
        self.average_rate = columns.average_rate(rows)
        # One fresh upload stands for one liked impression, so that a catalogue without viewers has an order, too.
        self.popular = _best(rows, columns.gain(rows, now_ms) + freshness, self._size)
        self._fresh = _best(rows, uploaded_at, self._size)
        new = rows[self.is_new(rows, now_ms=now_ms)]
        newest = _best(new, columns.uploaded_at[new], self._size // 2)
        # The newest alone would leave yesterday's videos their budget unspent; the rest of the shelf is drawn by lot.
        others = np.setdiff1d(new, newest, assume_unique=True)
        drawn = rng.choice(others, min(len(others), self._size - len(newest)), replace=False) if len(others) else _NONE
        chosen = np.concatenate([newest, drawn])
        self._new = chosen, self._catalogue.vectors(chosen)

    def is_new(self, rows: Rows, *, now_ms: int) -> NDArray[np.bool_]:
        """Tell which videos have exploration budget left."""
        columns = self._catalogue.columns
        young = columns.uploaded_at[rows] > now_ms - self._cold.max_age_h * _HOUR_MS
        return young & (columns.shown(rows) < self._cold.impressions)

    def fresh(self, count: int) -> Rows:
        """Return the rows of the newest videos, newest first; a row may be there twice."""
        rows = np.concatenate([self._fresh, self.arrived()])
        return _best(rows, self._catalogue.columns.uploaded_at[rows], count)

    def new(self) -> tuple[Rows, NDArray[np.float32]]:
        """Return videos, and their embeddings (n, 384), that had exploration budget left when the shelf was filled."""
        return self._new

    def arrived(self) -> Rows:
        """Return the last videos that came, at most ARRIVALS: they may be on no shelf yet."""
        return np.array(list(self._catalogue.newest), dtype=np.int64)


def _best(rows: Rows, key: NDArray[np.floating] | NDArray[np.int64], count: int) -> Rows:
    """Return the `count` rows with the largest key, largest first."""
    if len(rows) > count:
        chosen = np.argpartition(key, len(key) - count)[len(key) - count :]
        rows, key = rows[chosen], key[chosen]
    return rows[np.argsort(-key, kind="stable")]
