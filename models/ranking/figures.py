"""How good predicted probabilities are: order (AUC), information (log-loss over that of the base rate), honesty (ECE).

Intervals are 95 %, by drawing viewers again: the places of one viewer are not independent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Ints = NDArray[np.int64]

# Bins of equally many rows: more show finer errors, and count chance as error.
BINS = 10
DRAWS = 200
_LEAST = 1e-7


@dataclass(frozen=True)
class Measured:
    """A figure and its 95 % interval; NaN where it can't be told."""

    value: float
    low: float
    high: float


def log_loss(predicted: Values, values: Values) -> Values:
    """Return the cross entropy of each prediction, (n,), in nats; `values` are in 0..1."""
    sure = np.clip(predicted, _LEAST, 1.0 - _LEAST)
    return np.asarray(-(values * np.log(sure) + (1.0 - values) * np.log1p(-sure)))


def auc(predicted: Values, happened: NDArray[np.bool_], weights: Values | None = None) -> float:
    """Return how often a row that happened is above one that did not, ties half; NaN where there is but one kind."""
    weights = np.ones(len(predicted)) if weights is None else weights
    _, level = np.unique(predicted, return_inverse=True)
    yes = np.bincount(level, weights * happened)
    no = np.bincount(level, weights * ~happened)
    if not yes.sum() or not no.sum():
        return float("nan")
    below = np.cumsum(no) - no
    return float((yes * (below + 0.5 * no)).sum() / (yes.sum() * no.sum()))


def calibration_error(predicted: Values, values: Values, weights: Values | None = None, *, bins: int = BINS) -> float:
    """Return the mean distance of what was predicted from what came, over bins of equally many rows (ECE)."""
    weights = np.ones(len(predicted)) if weights is None else weights
    if not weights.sum():
        return float("nan")
    order = np.argsort(predicted, kind="stable")
    at = (np.arange(len(order)) * bins) // max(1, len(order))
    off = np.bincount(at, (weights * (predicted - values))[order], minlength=bins)
    return float(np.abs(off).sum() / weights.sum())


def measured(
    predicted: Values, values: Values, base: float, viewers: Ints, *, seed: int, draws: int = DRAWS
) -> Mapping[str, Measured]:
    """Return `auc`, `log_loss_over_base` and `ece` of one objective.

    A share counts as come, for the AUC, where it is above one half. `base` is the rate that a predictor without features knows.
    """
    happened = values > 0.5
    loss, of_base = log_loss(predicted, values), log_loss(np.full(len(values), base), values)

    def over_base(weights: Values) -> float:
        return float((weights * loss).sum() / max((weights * of_base).sum(), _LEAST)) if weights.sum() else float("nan")

    figures: dict[str, Callable[[Values], float]] = {
        "auc": lambda weights: auc(predicted, happened, weights),
        "log_loss_over_base": over_base,
        "ece": lambda weights: calibration_error(predicted, values, weights),
    }
    once, drawn = np.ones(len(values)), _drawn(viewers, draws, seed)
    return {name: _interval(of(once), np.array([of(weights) for weights in drawn])) for name, of in figures.items()}


def _drawn(viewers: Ints, draws: int, seed: int) -> list[Values]:
    """Return the weights of rows in each draw of as many viewers as there are."""
    rng = np.random.default_rng(seed)
    _, place = np.unique(viewers, return_inverse=True)
    if not len(place):
        return []
    count = int(place.max()) + 1
    times = [np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(draws)]
    return [each[place].astype(np.float64) for each in times]


def _interval(value: float, drawn: Values) -> Measured:
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return Measured(value, float("nan"), float("nan"))
    # Chance adds to an error in bins, and more so in a draw that has some rows twice: the draws say how far, not where.
    low, high = np.percentile(known - np.median(known) + value, (2.5, 97.5))
    return Measured(value, max(0.0, float(low)), float(high))
