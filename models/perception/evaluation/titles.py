"""Titles by their viewers: do videos that the same viewers watch lie closer than random ones?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streams.features import Vector

PAIRS = 40_000
Rows = NDArray[np.int64]


def coherence(embeddings: Vector, watched: Sequence[Rows], *, seed: int, pairs: int = PAIRS) -> dict[str, float]:
    """Return how often two videos of one viewer are closer than two others, ties half: an AUC, .5 by chance.

    `embeddings` are (n, d), `watched` each viewer's rows of them. `random` compares with any two videos; `popular` with one of
    the two and another viewer's, which is harder: what is watched a lot is alike.
    """
    rng = np.random.default_rng(seed)
    together = _together(watched, rng, pairs)
    of_others = np.concatenate(watched)
    units = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-9)

    def closeness(rows: Rows) -> Vector:
        near: Vector = (units[rows[:, 0]] * units[rows[:, 1]]).sum(axis=1)
        return near

    apart = {
        "random": rng.integers(len(embeddings), size=together.shape),
        "popular": np.stack([together[:, 0], rng.choice(of_others, len(together))], axis=1),
    }
    near = closeness(together)
    return {name: round(auc(near, closeness(rows)), 4) for name, rows in apart.items()}


def auc(positive: Vector, negative: Vector) -> float:
    """Return the probability that a positive is above a negative, ties half (Mann and Whitney)."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    not_above = np.searchsorted(ordered, positive, side="right")
    return float((below + not_above).mean() / 2 / len(negative))


def _together(watched: Sequence[Rows], rng: np.random.Generator, pairs: int) -> Rows:
    """Return pairs of different videos, each of one viewer, every viewer alike."""
    several = [rows for each in watched if len(rows := np.unique(each)) > 1]
    if not several:
        raise ValueError("expected viewers of two videos or more, got none")
    viewers = rng.integers(len(several), size=pairs)
    return np.array([rng.choice(several[viewer], 2, replace=False) for viewer in viewers])
