"""Leave one out: each viewer's last watch is to be found among all videos, by what was watched before it.

The watch before the last is for validation: a model is fitted to what lies before both, and may choose when to stop by it; at
the test it is part of the history. Videos in a viewer's history are no candidates. Nothing that a model is fitted to, counts or
normalises with comes from after the cut.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.retrieval.log import History, Rows, WatchLog

Scores = NDArray[np.float32]
# A video with so few watches before the cut, or none, is cold: what is known of it is what is in it.
COLD = 5
# Viewers whose scores are computed together, each one for every video: 40 MB for 20,000 of them.
TOGETHER = 512


class Recommender(Protocol):
    """Finds videos for viewers."""

    name: str

    def fit(self, train: WatchLog, validation: "Held") -> None:
        """Learn from `train`; `validation` is for choosing when to stop."""
        ...

    def scores(self, histories: Sequence[History]) -> Scores:
        """Return how well each of all m videos fits to viewers by what they watched: (viewers, m)."""
        ...


@dataclass(frozen=True)
class Held:
    """What is to be found: for each of n viewers a video, `wanted` (n,), by a history. `cold` says which are cold."""

    histories: tuple[History, ...]
    wanted: Rows
    cold: NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """A log, cut."""

    train: WatchLog
    validation: Held
    test: Held


@dataclass(frozen=True)
class Ranks:
    """Where the wanted video came among all candidates, for each of n viewers: 0 is first; ties count half."""

    ranks: NDArray[np.float64]
    cold: NDArray[np.bool_]

    def hits(self, at: int) -> NDArray[np.float64]:
        """Return for each viewer 1 where the wanted video is among the first `at`, else 0: their mean is HR@at."""
        return (self.ranks < at).astype(np.float64)

    def gains(self, at: int) -> NDArray[np.float64]:
        """Return for each viewer 1 / log2(rank + 2) where it is among the first `at`, else 0: their mean is NDCG@at."""
        return np.where(self.ranks < at, 1 / np.log2(self.ranks + 2), 0.0)

    def figures(self) -> dict[str, float]:
        """Return HR and NDCG at 10 and 20 of all viewers, and of those whose video was cold."""
        both = {f"{name}_at_{at}": of(at) for at in (10, 20) for name, of in (("hr", self.hits), ("ndcg", self.gains))}
        cold = {f"cold_{name}": values[self.cold] for name, values in both.items()}
        return {name: round(float(values.mean()), 5) if len(values) else 0.0 for name, values in (both | cold).items()}


def split(log: WatchLog) -> Split:
    """Return the log cut before each viewer's last two watches; who has fewer than three is only learned from."""
    # A viewer of one or two watches has none left over to be found with.
    judged = np.flatnonzero(log.lengths >= 3)
    train = log.first(np.where(log.lengths >= 3, log.lengths - 2, log.lengths))
    counts = train.counts()
    histories = [log.history(int(viewer)) for viewer in judged]
    second, last = (np.array([each.videos[-at] for each in histories], np.int64) for at in (2, 1))
    return Split(
        train=train,
        validation=Held(tuple(each[:-2] for each in histories), second, counts[second] <= COLD),
        test=Held(tuple(each[:-1] for each in histories), last, counts[last] <= COLD),
    )


def judge(recommender: Recommender, held: Held, *, done: Callable[[int], None] = lambda viewers: None) -> Ranks:
    """Return where a fitted recommender puts what is to be found; `done` is told of each batch of viewers."""
    ranks = []
    for start in range(0, len(held.wanted), TOGETHER):
        histories = held.histories[start : start + TOGETHER]
        scores = recommender.scores(histories)
        if not np.isfinite(scores).all():
            # Nothing is above what is no number: it would rank first.
            raise ValueError(f"{recommender.name}: expected a number for every video, got one that is none: it did not learn")
        ranks.append(ranks_of(scores, histories, held.wanted[start : start + TOGETHER]))
        done(len(histories))
    return Ranks(np.concatenate(ranks), held.cold)


def ranks_of(scores: Scores, histories: Sequence[History], wanted: Rows) -> NDArray[np.float64]:
    """Return the rank of each row's wanted column, (n,), columns in its history left out, from scores (n, m)."""
    candidates = np.array(scores, np.float32)
    rows = np.arange(len(candidates))
    right = candidates[rows, wanted][:, None].copy()
    for row, history in enumerate(histories):
        candidates[row, history.videos] = -np.inf
    candidates[rows, wanted] = right[:, 0]
    above, equal = (candidates > right).sum(axis=1), (candidates == right).sum(axis=1) - 1
    # A model that gives all the same score has found nothing: it gets what chance would.
    ranks: NDArray[np.float64] = above + equal / 2
    return ranks


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return a mean's 95 % interval over viewers, by the normal approximation."""
    if len(values) < 2:
        return 0.0, 1.0
    half = 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half
