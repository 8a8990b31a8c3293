"""95 % intervals by drawing viewers again (the bootstrap): what one viewer does hangs together, so viewers are the cases."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DRAWS = 1_000


def drawn_again(by_viewer: Floats, *, seed: int, draws: int = DRAWS) -> Floats:
    """Return the sums of columns, (draws, k), over as many viewers drawn with replacement, of their rows, (viewers, k)."""
    rng, count = np.random.default_rng(seed), len(by_viewer)
    # One draw at a time: how often each of a million viewers is in each of a thousand draws is more than memory holds.
    times = (np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(draws))
    return np.stack([each @ by_viewer for each in times])


def ratio(over: Floats, under: Floats, *, seed: int, draws: int = DRAWS) -> tuple[float, float]:
    """Return the interval of one total over another, from what each of n viewers adds to them, (n,)."""
    drawn = drawn_again(np.stack([over, under], axis=1), seed=seed, draws=draws)
    return middle(drawn[:, 0] / np.maximum(drawn[:, 1], 1e-12))


def middle(drawn: Floats) -> tuple[float, float]:
    """Return between which values 95 % lie."""
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)
