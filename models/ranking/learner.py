"""What finds videos for viewers and learns as they watch: the shape of it, and what every one of them needs."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.retrieval.log import SECOND_MS, History, Rows, WatchLog
from models.retrieval.windows import Chosen

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Asked:
    """What n viewers who ask for videos watched before, and when they ask, (n,) in Unix ms."""

    histories: tuple[History, ...]
    at: Rows

    def __len__(self) -> int:
        return len(self.histories)

    def with_history(self) -> Rows:
        """Return who watched anything."""
        return np.flatnonzero([len(history) for history in self.histories])

    def chosen(self, rows: Rows) -> "Asked":
        """Return these of them."""
        return Asked(tuple(self.histories[row] for row in rows), self.at[rows])


class Learner(Protocol):
    """Finds videos for viewers, and learns as they watch."""

    name: str

    def learn(self, log: WatchLog, new: Chosen) -> None:
        """Learn from the watches of a log that are `new`, (n,). The log is all that happened until now."""
        ...

    def scores(self, asked: Asked) -> Scores:
        """Return how well each of all m videos fits, (n, m). A history may be empty."""
        ...


def seen_before(log: WatchLog) -> Rows:
    """Return how many watches of its viewer were known when each watch of a log was to come, (n,).

    Those of the same second were not: their order means nothing.
    """
    viewers, seconds = log.viewers(), log.at // SECOND_MS
    begins = np.ones(len(log), bool)
    begins[1:] = (np.diff(viewers) != 0) | (np.diff(seconds) != 0)
    places = np.arange(len(log))
    return np.maximum.accumulate(np.where(begins, places, 0)) - log.bounds[viewers]


def asked_at(log: WatchLog, watches: Rows, seen: Rows) -> Asked:
    """Return who asked when each of `watches`, rows of a log, came, with the first `seen` of its viewer's known: (k,) each."""
    viewers = np.searchsorted(log.bounds, watches, side="right") - 1
    histories = tuple(log.history(viewer)[:many] for viewer, many in zip(viewers, seen, strict=True))
    return Asked(histories, log.at[watches])
