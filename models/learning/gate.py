"""The gate: what was learned serves only if, on the newest feedback, it beats having none and is not worse than what serves."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Fewer cases than this say nothing of either: the gate stays shut.
LEAST_CASES = 50
# How much worse than what serves a candidate may be, of its value: chance alone makes half of all equal ones look worse.
MARGIN = 0.02


class TooLittle(ValueError):
    """There is too little to learn from, or to be judged by. The message says what is missing and where."""


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate may serve, why, and the figures behind it."""

    passed: bool
    reason: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Learned:
    """A candidate: the files of its release, and the gate's verdict on them."""

    files: Mapping[str, bytes]
    verdict: Verdict


def judged(
    candidate: NDArray[np.float64],
    *,
    baseline: NDArray[np.float64],
    running: NDArray[np.float64] | None,
    name: str,
) -> Verdict:
    """Return the verdict on a candidate by what each of n held-out cases gave it, the baseline and what serves now.

    All are of the same cases, so differences are paired, with intervals of 95 % by the normal approximation. It must be above
    the baseline for certain, and not for certain below what serves by more than `MARGIN` of that.
    """
    figures = {"cases": float(len(candidate)), name: _mean(candidate), f"{name}_baseline": _mean(baseline)}
    if running is not None:
        figures[f"{name}_running"] = _mean(running)
    if len(candidate) < LEAST_CASES:
        return Verdict(False, f"expected {LEAST_CASES} held-out cases or more, got {len(candidate)}", figures)
    if not np.isfinite(candidate).all():
        return Verdict(False, "expected a number for every held-out case, got one that is none", figures)
    low, _ = _interval(candidate - baseline)
    if low <= 0:
        return Verdict(
            False, f"{name} {_mean(candidate):.4f} is not surely above the baseline's {_mean(baseline):.4f}", figures
        )
    if running is not None:
        _, high = _interval(candidate - running)
        if high < -MARGIN * abs(_mean(running)):
            return Verdict(False, f"{name} {_mean(candidate):.4f} is below {_mean(running):.4f} of what serves", figures)
    return Verdict(True, f"{name} {_mean(candidate):.4f}, the baseline has {_mean(baseline):.4f}", figures)


def _mean(values: NDArray[np.float64]) -> float:
    return round(float(values.mean()), 5) if len(values) else 0.0


def _interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    half = 1.96 * float(differences.std(ddof=1)) / len(differences) ** 0.5
    return float(differences.mean()) - half, float(differences.mean()) + half
