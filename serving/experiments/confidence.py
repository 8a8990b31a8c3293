"""Intervals that hold however often one looks: what may be said of a difference while an experiment still runs.

A 95 % interval of a fixed sample misses far more often than one time in twenty where one looks every day, and stops at the
first that leaves out 0. These do not: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and
asymptotic confidence sequences" (Annals of Statistics 2024), theorem 2.2 and, for time counted in variance, proposition 2.5:
the normal mixture of Robbins (1970), which is that of the mSPRT of Johari et al., "Always valid inference" (2022).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# The interval is tightest at so many independent impressions. Larger, and it is wider while an experiment is young; smaller,
# and while it is old: by a tenth or two for a factor of ten.
TIGHTEST_AT = 10_000.0
# How sure a sample ratio test is of its own prior: as if so many viewers had been seen in the right shares.
_PRIOR_VIEWERS = 100.0


@dataclass(frozen=True)
class Totals:
    """What the viewers of one arm did, by one metric: sums over viewers of x, what each had of it, and m, its impressions.

    `squares` is the sum over impressions of the square of what each had: it tells how much one impression varies.
    """

    viewers: int
    m: float
    x: float
    xx: float
    xm: float
    mm: float
    squares: float

    @property
    def mean(self) -> float:
        """Return what an impression has in the mean."""
        return self.x / self.m if self.m else 0.0

    @property
    def variance(self) -> float:
        """Return the variance of `mean`, of viewers and not impressions: a viewer's impressions are alike."""
        mean = self.mean
        # Rounding may leave less than nothing.
        return max(0.0, self.xx - 2.0 * mean * self.xm + mean * mean * self.mm) / (self.m * self.m) if self.m else 0.0


@dataclass(frozen=True)
class Interval:
    """A difference, and the ends of its interval."""

    difference: float
    low: float
    high: float


def compared(treatment: Totals, control: Totals, *, alpha: float, times: float = 1.0) -> Interval | None:
    """Return treatment's mean less `times` control's, in an interval that holds at all looks together with 1 - alpha.

    Time is counted in impressions' worth of variance: so it goes on, and the interval with it, both where viewers come and
    where they come again. None where nothing varies.
    """
    if not treatment.m or not control.m:
        return None
    difference = treatment.mean - times * control.mean
    variance = treatment.variance + times * times * control.variance
    impressions = treatment.m + control.m
    mean = (treatment.x + control.x) / impressions
    one = (treatment.squares + control.squares) / impressions - mean * mean
    if one <= 0.0 or variance <= 0.0:
        return None
    # So many impressions, were they independent, would say as much as these.
    weight = 1.0 / (1.0 / treatment.m + times * times / control.m)
    radius = math.sqrt(one) * _radius(weight * weight * variance / one, alpha) / weight
    return Interval(difference, difference - radius, difference + radius)


def _radius(time: float, alpha: float) -> float:
    """Return how far the sum of `time` independent steps of variance 1 may be from its mean, at any time, with 1 - alpha."""
    # Their approximation of what makes it smallest at TIGHTEST_AT.
    rho2 = (-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha)) + 1.0) / TIGHTEST_AT
    inside = time * rho2 + 1.0
    return math.sqrt(2.0 * inside / rho2 * math.log(math.sqrt(inside) / alpha))


def sample_ratio_p(viewers: Sequence[int], shares: Sequence[float]) -> float:
    """Return how likely arms of such shares are to be as far off, or farther, at any look: a p value that is always valid.

    A Bayes factor of multinomial counts against a Dirichlet prior: Lindon and Malek, "Anytime-valid inference for multinomial
    count data" (NeurIPS 2022). A chi-square test that is looked at every few seconds would cry wolf.
    """
    total = sum(shares)
    right = [share / total for share in shares]
    prior = [_PRIOR_VIEWERS * share for share in right]
    evidence = math.lgamma(_PRIOR_VIEWERS) - math.lgamma(_PRIOR_VIEWERS + sum(viewers))
    for count, share, before in zip(viewers, right, prior, strict=True):
        evidence += math.lgamma(before + count) - math.lgamma(before) - count * math.log(share)
    return math.exp(min(0.0, -evidence))
