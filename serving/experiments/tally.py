"""What the viewers of one experiment did: sums by viewer, since viewers are what was drawn, in memory of a stated bound."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.experiments.confidence import Totals
from serving.experiments.settings import METRICS, Experiment
from streams.events import Outcome

_COUNTED = ("complete", "like", "skip", "report")
_MOVED = -1
_METRICS = len(METRICS)
# Columns of the sums: impressions, each metric, and the squares of each metric by impression.
_WIDTH = 1 + 2 * _METRICS

Sums = NDArray[np.float64]


def measured(outcomes: Iterable[Outcome]) -> Sums:
    """Return the sums of what a page's places were, (1 + 2 × metrics,): those that the viewer looked at."""
    sums = [0.0] * _WIDTH
    for outcome in outcomes:
        if outcome.actions:
            sums[0] += 1.0
            values = (outcome.reward, outcome.watch_ms / 1000, *(float(action in outcome.actions) for action in _COUNTED))
            for place, value in enumerate(values, start=1):
                sums[place] += value
                sums[place + _METRICS] += value * value
    return np.array(sums)


class Tally:
    """Sums by viewer and, of them, by arm: what is said of a hundred thousand viewers costs no more than of ten.

    `left_out` counts pages of viewers that came when memory was full, `moved` viewers who changed arms: neither counts.
    """

    def __init__(self, experiment: Experiment, most_viewers: int) -> None:
        self.experiment = experiment
        self.left_out = 0
        self.moved = 0
        self._arms = {arm.name: number for number, arm in enumerate(experiment.arms)}
        self._most = most_viewers
        self._row: dict[str, int] = {}
        self._free: list[int] = []
        self._arm = np.zeros(1024, dtype=np.int8)
        self._sums = np.zeros((1024, _WIDTH))
        self._viewers = [0] * len(experiment.arms)
        self._of_arms = np.zeros((len(experiment.arms), 2 + 4 * _METRICS))

    def __len__(self) -> int:
        return len(self._row)

    def take(self, user_id: str, arm: str, outcomes: Sequence[Outcome]) -> None:
        """Add what became of a page."""
        number = self._arms.get(arm)
        if number is None:
            # Of an experiment of this name that had other arms.
            return
        row = self._row.get(user_id)
        if row is None:
            if len(self._row) >= self._most:
                self.left_out += 1
                return
            row = self._row[user_id] = self._free.pop() if self._free else self._next()
            self._arm[row] = number
            self._viewers[number] += 1
        before = int(self._arm[row])
        if before == _MOVED:
            return
        if before != number:
            # What they do in one arm is of what they saw in the other.
            self._take_out(row)
            self._arm[row] = _MOVED
            self.moved += 1
            return
        self._of_arms[number] -= _products(self._sums[row])
        self._sums[row] += measured(outcomes)
        self._of_arms[number] += _products(self._sums[row])

    def forget(self, user_id: str) -> int:
        """Forget a viewer and what they did; return how many viewers went, 0 or 1."""
        row = self._row.pop(user_id, None)
        if row is None:
            return 0
        if self._arm[row] == _MOVED:
            self.moved -= 1
        else:
            self._take_out(row)
        self._free.append(row)
        return 1

    def totals(self, arm: int) -> list[Totals]:
        """Return what the viewers of an arm did, by metric."""
        m, mm, *sums = self._of_arms[arm].tolist()
        by_metric = zip(*(sums[start : start + _METRICS] for start in range(0, 4 * _METRICS, _METRICS)), strict=True)
        return [
            Totals(viewers=self._viewers[arm], m=m, x=x, xx=xx, xm=xm, mm=mm, squares=squares)
            for x, xx, xm, squares in by_metric
        ]

    def _take_out(self, row: int) -> None:
        arm = int(self._arm[row])
        self._viewers[arm] -= 1
        self._of_arms[arm] -= _products(self._sums[row])
        self._sums[row] = 0.0

    def _next(self) -> int:
        # Those that were forgotten left free rows, which are taken first: all rows below are in use.
        row = len(self._row)
        if row == len(self._arm):
            self._arm = np.concatenate([self._arm, np.zeros(row, dtype=np.int8)])
            self._sums = np.concatenate([self._sums, np.zeros((row, _WIDTH))])
        return row


def _products(sums: Sums) -> Sums:
    """Return what a viewer adds to the sums of an arm: m, m², and for each metric x, x², x·m and squares."""
    m, x = sums[0], sums[1 : 1 + _METRICS]
    return np.concatenate([(m, m * m), x, x * x, x * m, sums[1 + _METRICS :]])
