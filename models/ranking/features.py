"""What the ranker sees of a candidate for a viewer: names, order, units. Serving makes these and logs them as it scored.

Training reads them from the feedback log: what was known when a page was served need not be made again, with no look ahead and
no difference to serving.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

# To be raised whenever a number's meaning, unit or place changes: rows of another version are not learned from.
VERSION = 1

# Impressions' worth of `PRIOR_RATES` added to a video's counts: fewer, and one like of two impressions is a hit; more, and a
# hit is not told from the rest in its first hour.
VIDEO_PRIOR = 20.0
# The same for a viewer's own rates.
VIEWER_PRIOR = 10.0
# Of an impression, after MicroLens' and KuaiRand's published rates. Constants: a rate that followed the averages of all would
# mean another thing each day.
PRIOR_RATES = {
    "plays": 0.55, "completions": 0.25, "watch_share": 0.4, "likes": 0.05, "shares": 0.01, "comments": 0.01, "skips": 0.45,
    "reports": 0.0005,
}  # fmt: skip
# A pause longer than this says no more than that the viewer was away.
LONGEST_IDLE_S = 30 * 86_400.0
FRESH_HALF_LIFE_H = 6.0
# Of a viewer's history, the newest: the mood of this sitting.
RECENT = 20


@dataclass(frozen=True)
class Feature:
    """One number: what it is of, its unit, and its bounds. Heavy tails are logged, as `ln(1 + x)`: float16 ends at 65,504."""

    name: str
    unit: str
    low: float = 0.0
    high: float = 1.0


_LOG_COUNT = ("ln(1 + count)", 0.0, 28.0)
_COSINE = ("cosine", -1.01, 1.01)
_RATE = "smoothed share of impressions"

FEATURES = (
    # The viewer, the same for all candidates of a page.
    Feature("viewer_known", "0 or 1"),
    Feature("viewer_events", *_LOG_COUNT),
    Feature("viewer_complete_rate", _RATE),
    Feature("viewer_like_rate", _RATE),
    Feature("viewer_skip_rate", _RATE),
    Feature("viewer_session_events", *_LOG_COUNT),
    Feature("viewer_session_watch", "ln(1 + s)", 0.0, 28.0),
    Feature("viewer_skip_streak", "skips in a row", 0.0, 50.0),
    Feature("viewer_history", "videos / 200"),
    Feature("viewer_recent", "mean engagement of the last 20 videos", -1.0, 1.0),
    Feature("viewer_idle", "ln(1 + s)", 0.0, 15.0),
    Feature("viewer_mood", "ln(1 + decayed weight of short interests)", 0.0, 28.0),
    # The video.
    Feature("video_impressions", "ln(1 + decayed count)", 0.0, 28.0),
    Feature("video_shown", *_LOG_COUNT),
    Feature("video_play_rate", _RATE),
    Feature("video_complete_rate", _RATE),
    Feature("video_watch_share", "smoothed share of its length"),
    Feature("video_like_rate", _RATE),
    Feature("video_share_rate", _RATE),
    Feature("video_comment_rate", _RATE),
    Feature("video_skip_rate", _RATE),
    Feature("video_report_rate", _RATE),
    Feature("video_age", "ln(1 + h)", 0.0, 15.0),
    Feature("video_freshness", "halved each 6 h"),
    Feature("video_duration", "ln(1 + s); 0: not known", 0.0, 12.0),
    Feature("video_live", "0 or 1"),
    Feature("video_unsafe", "worst safety score"),
    # The two together.
    Feature("interest_short", *_COSINE),
    Feature("interest_long", *_COSINE),
    Feature("interest", "cosine to both, weighed by how much the mood of now counts", -1.01, 1.01),
    Feature("nearest_liked", *_COSINE),
    Feature("author_followed", "0 or 1"),
    Feature("author_seen", "ln(1 + videos of the history)", 0.0, 6.0),
    Feature("author_liked", "summed engagement of its videos in the history", -200.0, 200.0),
    Feature("plan_rank", "1 for the first of the plan, halved each 5 places; 0: not in it"),
    Feature("tower", "deviations above what the average video gets from the towers; 0: none", -100.0, 100.0),
)
NAMES = tuple(feature.name for feature in FEATURES)
AT = {name: place for place, name in enumerate(NAMES)}
_LOW = np.array([feature.low for feature in FEATURES], np.float32)
_HIGH = np.array([feature.high for feature in FEATURES], np.float32)


def bounded(made: Matrix) -> Matrix:
    """Return features, given as (f, n), as (n, f) within their bounds: whatever a client or a clock did, numbers."""
    return np.ascontiguousarray(np.fmin(np.fmax(made, _LOW[:, None]), _HIGH[:, None]).T)


def pack(matrix: Matrix) -> list[bytes]:
    """Return each row of features, (n, f), as little-endian float16."""
    packed = matrix.astype("<f2")
    return [row.tobytes() for row in packed]


def unpack(rows: Sequence[bytes | None]) -> tuple[Matrix, NDArray[np.bool_]]:
    """Return the features of packed rows, (n, f), and which rows are right: of the right length, all numbers, in bounds.

    What is not right is zeros.
    """
    size = 2 * len(FEATURES)
    right = np.array([row is not None and len(row) == size for row in rows], np.bool_)
    whole = b"".join(row for row, good in zip(rows, right, strict=True) if good and row is not None)
    matrix = np.zeros((len(rows), len(FEATURES)), np.float32)
    matrix[right] = np.frombuffer(whole, "<f2").reshape(-1, len(FEATURES))
    # Rounding to float16 may put what is on a bound beside it.
    slack = 1e-2 * np.maximum(1.0, np.abs(_HIGH))
    # What is no number is in no bounds.
    right &= ((matrix >= _LOW - slack) & (matrix <= _HIGH + slack)).all(axis=1)
    matrix[~right] = 0.0
    return matrix, right
