"""The catalogue's numbers, one array a property and one row a video, so that a stage scores all candidates in one go."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.events import VideoStats
from streams.state.engagement import HALF_LIFE_MS
from streams.state.interests import DIMENSIONS

STATS = ("impressions", "plays", "completions", "watch_share", "likes", "shares", "comments", "skips", "reports")

# What one impression is worth by what became of it. The order follows the weights that For You published; with all of one
# sign, a video that is shown much but skipped would rise as one that is loved.
_GAIN = np.array([0.0, 0.1, 0.6, 0.0, 1.0, 2.0, 1.0, -0.5, -20.0], dtype=np.float32)
_IMPRESSIONS = STATS.index("impressions")
_WATCH_SHARE = STATS.index("watch_share")
_SUCCESSES = [STATS.index(name) for name in ("completions", "likes", "shares", "comments")]

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


def among(rows: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which of `rows` are in `wanted`, shape (n,): numpy's isin by a table, as rows are small numbers.

    isin sorts both at each call, which took a tenth of a page's time.
    """
    table = np.zeros(1 + max(rows.max(initial=-1), wanted.max(initial=-1)), dtype=np.bool_)
    table[wanted] = True
    found: NDArray[np.bool_] = table[rows]
    return found


class Columns:
    """Arrays that double when they are full. A reader sees old arrays or new ones, both right for the rows it knows."""

    def __init__(self, capacity: int = 1024) -> None:
        # float32, not the float16 that came: converting a thousand rows would cost each request a millisecond.
        self.embedding = np.zeros((capacity, DIMENSIONS), dtype=np.float32)
        self.alive = np.zeros(capacity, dtype=np.bool_)
        self.live = np.zeros(capacity, dtype=np.bool_)
        self.author = np.zeros(capacity, dtype=np.int32)
        self.uploaded_at = np.zeros(capacity, dtype=np.int64)
        self.duration_ms = np.zeros(capacity, dtype=np.int32)
        self.unsafe = np.zeros(capacity, dtype=np.float32)
        self.stats = np.zeros((capacity, len(STATS)), dtype=np.float32)
        self.stats_as_of = np.zeros(capacity, dtype=np.int64)
        self.impressions = np.zeros(capacity, dtype=np.int32)
        self.served = np.zeros(capacity, dtype=np.int32)

    def __len__(self) -> int:
        return len(self.alive)

    def grow(self) -> None:
        """Double every array."""
        for name, column in vars(self).items():
            setattr(self, name, np.concatenate([column, np.zeros_like(column)]))

    def clear(self, row: int) -> None:
        """Make `row` as it was before any video was in it."""
        for column in vars(self).values():
            column[row] = 0

    def set_stats(self, row: int, stats: VideoStats) -> None:
        """Take over new counts; places served here that they now include are no longer counted apart."""
        self.stats[row] = [getattr(stats, name) for name in STATS]
        self.stats_as_of[row] = stats.as_of
        self.served[row] = max(0, int(self.served[row]) - max(0, stats.total_impressions - int(self.impressions[row])))
        self.impressions[row] = stats.total_impressions

    def shown(self, rows: Rows) -> NDArray[np.int64]:
        """Return how often each video was shown, including what was served here and is not counted yet."""
        # Two counts that each fit into 32 bits: their sum may not, and a video shown less than never would be new for ever.
        return self.impressions[rows].astype(np.int64) + self.served[rows]

    def _decayed(self, rows: Rows, now_ms: int) -> NDArray[np.float32]:
        age = np.maximum(0, now_ms - self.stats_as_of[rows]) / HALF_LIFE_MS
        return self.stats[rows] * np.exp2(-age).astype(np.float32)[:, None]

    def counts(self, rows: Rows, now_ms: int, names: tuple[str, ...]) -> tuple[Floats, Floats, Floats]:
        """Return each video's decayed impressions, (n,), its counts `names`, (names, n), and the mean share watched, (n,)."""
        decayed = self._decayed(rows, now_ms).T
        return decayed[_IMPRESSIONS], decayed[[STATS.index(name) for name in names]], self.stats[rows, _WATCH_SHARE]

    def engagement(self, rows: Rows, now_ms: int, *, smoothing: float, average: float) -> Floats:
        """Return each video's gain per impression, -1..1; few impressions say little and stay near `average`."""
        stats = self._decayed(rows, now_ms)
        rate = (stats @ _GAIN + smoothing * average) / (stats[:, _IMPRESSIONS] + smoothing)
        return np.asarray(rate / (1.0 + np.abs(rate)), dtype=np.float32)

    def gain(self, rows: Rows, now_ms: int) -> Floats:
        """Return each video's decayed gain in all: what makes it popular now."""
        gain: Floats = self._decayed(rows, now_ms) @ _GAIN
        return gain

    def average_rate(self, rows: Rows) -> float:
        """Return the gain per impression over `rows` together; 0 where nothing was shown."""
        totals = self.stats[rows].sum(axis=0)
        return float(totals @ _GAIN / totals[_IMPRESSIONS]) if totals[_IMPRESSIONS] > 0 else 0.0

    def trials(self, rows: Rows) -> tuple[Floats, Floats]:
        """Return successes and failures of each video: an impression succeeds at most once."""
        stats = self.stats[rows]
        successes: Floats = np.minimum(stats[:, _IMPRESSIONS], stats[:, _SUCCESSES].sum(axis=1))
        return successes, stats[:, _IMPRESSIONS] - successes
