"""What the viewers of one experiment did: sums by viewer, since viewers are what was drawn, in memory of a stated bound."""

from collections.abc import Iterable, Sequence

import numpy as np

from serving.experiments.confidence import Totals
from serving.experiments.settings import METRICS, Experiment
from streams.events import Outcome

_COUNTED = {"completes": "complete", "likes": "like", "skips": "skip", "reports": "report"}
_MOVED = -1
_FREE = -2
# Columns of the sums: impressions, each metric, and the squares of each metric by impression.
_WIDTH = 1 + 2 * len(METRICS)


def measured(outcomes: Iterable[Outcome]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the sums of what a page's places were, (1 + 2 × metrics,): those that the viewer looked at."""
    sums = np.zeros(_WIDTH)
    for outcome in outcomes:
        if outcome.actions:
            values = [
                outcome.reward,
                outcome.watch_ms / 1000,
                *(float(action in outcome.actions) for action in _COUNTED.values()),
            ]
            sums[0] += 1.0
            sums[1 : 1 + len(METRICS)] += values
            sums[1 + len(METRICS) :] += np.square(values)
    return sums


class Tally:
    """Sums by viewer. `left_out` are viewers that came when memory was full, `moved` those who changed arms: neither counts."""

    def __init__(self, experiment: Experiment, most_viewers: int) -> None:
        self.experiment = experiment
        self.left_out = 0
        self._arms = {arm.name: number for number, arm in enumerate(experiment.arms)}
        self._most = most_viewers
        self._row: dict[str, int] = {}
        self._free: list[int] = []
        self._arm = np.full(1024, _FREE, dtype=np.int8)
        self._sums = np.zeros((1024, _WIDTH))

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
        elif self._arm[row] != number:
            # What they do in one arm is of what they saw in the other.
            self._arm[row] = _MOVED
        self._sums[row] += measured(outcomes)

    def forget(self, user_id: str) -> int:
        """Forget a viewer and what they did; return how many viewers went, 0 or 1."""
        row = self._row.pop(user_id, None)
        if row is None:
            return 0
        self._arm[row] = _FREE
        self._sums[row] = 0.0
        self._free.append(row)
        return 1

    @property
    def moved(self) -> int:
        """Return how many viewers were in two arms."""
        return int((self._arm == _MOVED).sum())

    def totals(self, arm: int) -> list[Totals]:
        """Return what the viewers of an arm did, by metric."""
        sums = self._sums[self._arm == arm]
        m = sums[:, 0]
        return [
            Totals(
                viewers=len(m),
                m=float(m.sum()),
                x=float(x.sum()),
                xx=float(x @ x),
                xm=float(x @ m),
                mm=float(m @ m),
                squares=float(squares.sum()),
            )
            for x, squares in zip(sums.T[1 : 1 + len(METRICS)], sums.T[1 + len(METRICS) :], strict=True)
        ]

    def _next(self) -> int:
        # Those that were forgotten left free rows, which are taken first: all rows below are in use.
        row = len(self._row)
        if row == len(self._arm):
            self._arm = np.concatenate([self._arm, np.full(row, _FREE, dtype=np.int8)])
            self._sums = np.concatenate([self._sums, np.zeros((row, _WIDTH))])
        return row
