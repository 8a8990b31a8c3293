"""Recommenders side by side: fitted to the same log, asked for the same videos, each figure with its interval over viewers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.ranking.evaluation.drawn_again import ratio
from models.ranking.evaluation.leave_one_out import Ranks, Recommender, Split, interval, judge

HEADLINES = ("hr_at_10", "ndcg_at_10", "cold_hr_at_10")


@dataclass(frozen=True)
class Judged:
    """One recommender: where it put what was wanted, and the seconds that fitting and judging took."""

    name: str
    ranks: Ranks
    fit_s: float
    judge_s: float

    def figures(self) -> dict[str, float]:
        """Return its figures, and the ends of the 95 % intervals of the three that head a table."""
        figures = self.ranks.figures()
        for name in HEADLINES:
            low, high = interval(self.values(name))
            figures |= {f"{name}_low": round(low, 5), f"{name}_high": round(high, 5)}
        return figures

    def values(self, figure: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
        """Return what each viewer adds to a figure that heads a table."""
        of_all = self.ranks.gains(10) if figure == "ndcg_at_10" else self.ranks.hits(10)
        return of_all[self.ranks.cold] if figure.startswith("cold") else of_all


def compare(
    recommenders: Sequence[Recommender], split: Split, *, told: Callable[[str], None] = lambda said: None
) -> list[Judged]:
    """Fit and judge each; `told` hears of what is done."""
    results = []
    for recommender in recommenders:
        told(f"{recommender.name}: fitting to {len(split.train):,} watches")
        began = time.perf_counter()
        recommender.fit(split.train, split.validation)
        fitted = time.perf_counter()
        told(f"{recommender.name}: finding {len(split.test.wanted):,} videos")
        ranks = judge(recommender, split.test)
        results.append(Judged(recommender.name, ranks, round(fitted - began, 1), round(time.perf_counter() - fitted, 1)))
    return results


def over(ours: Judged, other: Judged, figure: str, *, seed: int) -> tuple[float, float, float]:
    """Return how many times the other's figure ours is, with the ends of its 95 % interval over the same viewers."""
    mine, theirs = ours.values(figure), other.values(figure)
    low, high = ratio(mine, theirs, seed=seed)
    return round(float(mine.mean() / max(theirs.mean(), 1e-12)), 3), round(low, 3), round(high, 3)
