"""What another policy would have earned, from choices that were left to chance, and how far to trust it.

A choice counts by how much likelier the other policy is to make it: inverse propensity scoring (Horvitz and Thompson, 1952).
By the sum of weights: Swaminathan and Joachims, "The Self-Normalized Estimator for Counterfactual Learning" (2015).
With a reward model: Dudík, Langford and Li, "Doubly Robust Policy Evaluation and Learning" (ICML 2011).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.ranking.evaluation.drawn_again import DRAWS, drawn_again, middle
from models.ranking.evaluation.logged_choices import Floats, Ints, LoggedChoices
from models.ranking.evaluation.policies import TARGETS, Policy

# Below so many choices' worth of weight an estimate rests on a handful of lucky ones; far more are seldom had.
ESS_FLOOR = 100
# Viewers are drawn again for the intervals: from fewer, they come out too narrow.
VIEWERS_FLOOR = 30
# Standard errors by which the mean weight may be off 1: at two, every twentieth good log would be doubted.
_OFF = 4.0


@dataclass(frozen=True)
class Weighed:
    """n choices as another policy weighs them: all (n,).

    `weights` say how much likelier it makes the choice than the one that made it, `predicted` the reward that was expected of
    what was shown, `expected` the one of what the policy would show.
    """

    viewers: Ints
    weights: Floats
    rewards: Floats
    predicted: Floats
    expected: Floats


@dataclass(frozen=True)
class Value:
    """A mean reward per choice with the ends of its 95 % interval; None where nothing tells of it."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimate:
    """What one policy would have earned, by three estimators, and how far they can be trusted.

    `ess` is the effective sample size (Σw)²/Σw². With clipping, `clipped` is the share of choices whose weight was cut, and
    `clip_bias` what that takes from the inverse propensity estimate, as the choices themselves tell. `doubt` is why the numbers
    are not to be trusted, empty where nothing speaks against them.
    """

    ips: Value
    snips: Value
    dr: Value
    ess: float
    mean_weight: float
    max_weight: float
    clipped: float
    clip_bias: float
    doubt: str

    def figures(self) -> dict[str, float | str | None]:
        """Return all of it by name."""
        values = {"ips": self.ips, "snips": self.snips, "dr": self.dr}
        flat = {
            f"{name}{end}": None if number is None else round(number, 6)
            for name, value in values.items()
            for end, number in (("", value.mean), ("_low", value.low), ("_high", value.high))
        }
        rest = {name: round(float(getattr(self, name)), 6) for name in _REST}
        return flat | rest | {"doubt": self.doubt}


_REST = ("ess", "mean_weight", "max_weight", "clipped", "clip_bias")


def weigh(choices: LoggedChoices, policy: Policy, expected: Floats) -> Weighed:
    """Return choices as `policy` weighs them; `expected` are the rewards to expect of all contestants, (m,)."""
    probabilities = policy(choices, expected)
    return Weighed(
        viewers=choices.viewers,
        weights=probabilities[choices.shown] / choices.propensities[choices.shown],
        rewards=choices.rewards,
        predicted=expected[choices.shown],
        expected=np.add.reduceat(probabilities * expected, choices.shown),
    )


def estimate(choices: Weighed, *, clip: float | None = None, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """Return what the weighed choices say.

    Args:
        clip: the largest weight that counts. It trades variance for bias: what the policy would do much more often than the log
            did then counts too little, and with rewards above 0 the estimates of `ips` come out too low.
        draws: how often viewers are drawn for the intervals.
    """
    weights = choices.weights if clip is None else np.minimum(choices.weights, clip)
    lost = choices.weights - weights
    gained = weights * choices.rewards
    robust = choices.expected + weights * (choices.rewards - choices.predicted)
    total = float(weights.sum())
    again = _drawn(choices.viewers, np.stack([np.ones(len(weights)), weights, gained, robust], axis=1), seed=seed, draws=draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        ips, snips, dr = again[:, 2] / again[:, 0], again[:, 2] / again[:, 1], again[:, 3] / again[:, 0]
        mean_weights = again[:, 1] / again[:, 0]
    # By the largest weight, or tiny ones would be rounded away, their squares first.
    shares = weights / weights.max() if total else weights
    ess = float(shares.sum() ** 2 / (shares**2).sum()) if total else 0.0
    viewers = len(np.unique(choices.viewers))
    off = abs(float(weights.mean()) - 1.0) > _OFF * float(mean_weights.std()) + 1e-9
    return Estimate(
        ips=_value(float(gained.mean()), ips, viewers),
        snips=_value(float((shares * choices.rewards).sum() / shares.sum()) if total else None, snips, viewers),
        dr=_value(float(robust.mean()), dr, viewers),
        ess=ess,
        mean_weight=float(weights.mean()),
        max_weight=float(weights.max()),
        clipped=float((lost > 0).mean()),
        clip_bias=-float((lost * choices.rewards).mean()),
        doubt=_doubt(ess, viewers, off=off and clip is None, mean_weight=float(weights.mean())),
    )


def evaluate(
    choices: LoggedChoices,
    expected: Floats,
    *,
    targets: Mapping[str, Policy] = TARGETS,
    clip: float | None = None,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return what each policy would have earned."""
    return {name: estimate(weigh(choices, policy, expected), clip=clip, seed=seed) for name, policy in targets.items()}


def _drawn(viewers: Ints, values: Floats, *, seed: int, draws: int) -> Floats:
    """Return the sums of the columns of `values`, (n, k), over viewers drawn again: (draws, k)."""
    _, viewer_of = np.unique(viewers, return_inverse=True)
    by_viewer = np.stack([np.bincount(viewer_of, column).astype(np.float64) for column in values.T], axis=1)
    return drawn_again(by_viewer, seed=seed, draws=draws)


def _value(mean: float | None, drawn: Floats, viewers: int) -> Value:
    told = drawn[np.isfinite(drawn)]
    if mean is None or viewers < 2 or not len(told):
        return Value(mean, None, None)
    return Value(mean, *middle(told))


def _doubt(ess: float, viewers: int, *, off: bool, mean_weight: float) -> str:
    if ess < ESS_FLOOR:
        return f"its weight is that of {ess:.0f} choices, fewer than {ESS_FLOOR}"
    if viewers < VIEWERS_FLOOR:
        return f"{viewers} viewers, fewer than {VIEWERS_FLOOR}"
    if off:
        return f"its weights are {mean_weight:.2f} in the mean, not 1: the propensities are not those of what chose"
    return ""
