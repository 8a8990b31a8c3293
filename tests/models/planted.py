"""Made-up places of pages, of which is known what becomes of them: for the tests of what learns from them."""

import numpy as np
from numpy.typing import NDArray

from models.ranking.features import AT, FEATURES, Matrix
from models.ranking.objectives import OBJECTIVES
from models.ranking.rows import Rows

NOW = 1_790_000_000_000
# How often each objective comes about; of a report there are too few to learn from.
RATES = {"complete": 0.3, "watch_share": 0.4, "like": 0.1, "share": 0.06, "follow": 0.05, "skip": 0.4, "report": 0.0}
# What each objective goes by.
CAUSES = {
    "complete": "interest", "watch_share": "video_watch_share", "like": "interest_long", "share": "video_share_rate",
    "follow": "author_liked", "skip": "viewer_skip_rate",
}  # fmt: skip
PLACES = 10


def features(rng: np.random.Generator, count: int) -> Matrix:
    """Return features spread over their bounds, (n, f), heavy tails cut short."""
    low, high = (np.array([np.clip(getattr(each, side), -5, 5) for each in FEATURES]) for side in ("low", "high"))
    return rng.uniform(low, high, size=(count, len(FEATURES))).astype(np.float16).astype(np.float32)


def places(count: int = 6_000, *, seed: int = 0, began_at: int = NOW, strength: float = 2.0) -> Rows:
    """Return `count` places of pages: each objective goes by one feature, by `strength` logits a standard deviation."""
    rng = np.random.default_rng(seed)
    made = features(rng, count)
    values = np.zeros((count, len(OBJECTIVES)), np.float32)
    for at, name in enumerate(OBJECTIVES):
        if name in CAUSES:
            cause = made[:, AT[CAUSES[name]]]
            logits = np.log(RATES[name] / (1 - RATES[name])) + strength * (cause - cause.mean()) / cause.std()
            values[:, at] = (
                1 / (1 + np.exp(-logits)) if name == "watch_share" else rng.random(count) < 1 / (1 + np.exp(-logits))
            )
    return rows_of(made, values, began_at=began_at, seed=seed)


def rows_of(
    made: Matrix, values: Matrix, *, began_at: int = NOW, seed: int = 0, positions: NDArray[np.int64] | None = None
) -> Rows:
    """Return rows of pages of ten, a second apart, all labels known."""
    count = len(made)
    return Rows(
        features=made,
        positions=np.arange(count) % PLACES if positions is None else positions,
        values=values,
        known=np.ones(values.shape, np.bool_),
        viewers=np.random.default_rng(seed).integers(60, size=count),
        served_at=began_at + np.arange(count) // PLACES * 1000,
    )
