"""The Gini coefficient: how unevenly an amount is spread."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def gini(amounts: NDArray[Any]) -> float | None:
    """Return the Gini coefficient of amounts of 0 or more, shape (n,): 0 all equal, 1 - 1/n one has all; None of nothing.

    Brown's formula over the sorted amounts; Gini, "Variabilità e mutabilità" (1912).
    """
    total = float(amounts.sum())
    if total <= 0.0:
        return None
    ranks = np.arange(1, len(amounts) + 1)
    found = 2.0 * (ranks * np.sort(amounts)).sum() / (len(amounts) * total) - (len(amounts) + 1) / len(amounts)
    # Rounding leaves amounts that are all equal a hair below 0.
    return max(0.0, float(found))
