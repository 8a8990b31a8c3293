"""Prequential replay: every watch of a log is predicted before it is learned from, with only what was known then.

Watches come in the order of their times; one whose clock was wrong is where its clock put it. Models learn at syncs, at the end
of each interval of event time in which something was watched. What a viewer watched is known up to the second of the question,
as a feed's features are; or, if asked, only up to the last sync, as in a batch system. Watches of a viewer in one second have
no order that means anything: all are predicted before any of them is known. All titles of a log are candidates throughout but
for what the viewer watched before: a data set's upload times are often first watches, and know the future.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ranking.evaluation.drawn_again import ratio
from models.ranking.evaluation.leave_one_out import COLD, Ranks, ranks_of
from models.ranking.learner import Learner, asked_at, seen_before
from models.retrieval.log import SECOND_MS, Rows, WatchLog
from models.retrieval.windows import Chosen

# Of the watches, those that are learned from only: fewer judge models that know nothing yet, more leave less to judge by.
WARM_UP = 0.1
# Questions whose scores are computed together.
TOGETHER = 512
HEADLINES = ("hr_at_10", "ndcg_at_10", "cold_hr_at_10")


@dataclass(frozen=True)
class Replayed:
    """What a replay found: for each of n watches where it ranked, whose it was, when, and whether its video was cold."""

    name: str
    ranks: Ranks
    viewers: Rows
    at: Rows
    syncs: int
    learned: int
    fit_s: float
    judge_s: float

    def figures(self, *, seed: int = 0) -> dict[str, float]:
        """Return HR and NDCG of all and of cold videos, and the ends of the 95 % intervals of the three that head a table."""
        figures = self.ranks.figures()
        for name in HEADLINES:
            low, high = ratio(*self.by_viewer(name), seed=seed)
            figures |= {f"{name}_low": round(low, 5), f"{name}_high": round(high, 5)}
        return figures | {"learned_per_s": round(self.learned / max(self.fit_s, 1e-9), 1)}

    def over_time(self, parts: int) -> list[tuple[int, float]]:
        """Return NDCG@10 of so many parts of the watches in the order of their times, each with the time of its first."""
        in_order = np.argsort(self.at, kind="stable")
        gains = self.ranks.gains(10)
        return [(int(self.at[part[0]]), float(gains[part].mean())) for part in np.array_split(in_order, parts) if len(part)]

    def by_viewer(self, figure: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sum of a figure over each viewer's watches, and how many those are."""
        values = self.ranks.gains(10) if figure.endswith("ndcg_at_10") else self.ranks.hits(10)
        counted = self.ranks.cold.astype(float) if figure.startswith("cold") else np.ones(len(values))
        sums, counts = (np.bincount(self.viewers, each).astype(np.float64) for each in (values * counted, counted))
        return sums, counts


def over(ours: Replayed, other: Replayed, figure: str, *, seed: int) -> tuple[float, float, float]:
    """Return how many times the other's figure ours is, with the ends of its 95 % interval over the same viewers."""
    (mine, _), (theirs, _) = ours.by_viewer(figure), other.by_viewer(figure)
    low, high = ratio(mine, theirs, seed=seed)
    return round(float(mine.sum() / max(theirs.sum(), 1e-12)), 3), round(low, 3), round(high, 3)


@dataclass(frozen=True)
class Block:
    """Watches between two syncs, rows of a log, and how many of each viewer's were known at the first."""

    watches: Rows
    known: Rows


def replay(
    learner: Learner,
    log: WatchLog,
    *,
    sync_ms: int | None,
    judged: tuple[float, float] = (WARM_UP, 1.0),
    fresh_histories: bool = True,
    started: bool = False,
    done: Callable[[int], None] = lambda watches: None,
) -> Replayed:
    """Replay a log, of which the `judged` share by time is predicted, and what lies before is learned from at once.

    With `sync_ms` None the learner learns no more after that; one that `started` has learned what lies before. `done` is told
    how many watches were predicted.

    Raises:
        ValueError: nothing lies before what is judged, or a learner gives no number.
    """
    seen, learned_of = seen_before(log), np.zeros(len(log.viewer_ids), np.int64)
    ranks, order, syncs, learned, learn_s, ask_s = [], [], 0, 0, 0.0, 0.0
    for block in blocks(log, sync_ms=sync_ms, judged=judged):
        began = time.perf_counter()
        if started and not syncs:
            learned_of, syncs = block.known, 1
        elif not syncs or sync_ms is not None:
            known, new = _known(log, block.known, learned_of)
            learner.learn(known, new)
            learned_of, syncs, learned = block.known, syncs + 1, learned + int(new.sum())
        synced = time.perf_counter()
        for start in range(0, len(block.watches), TOGETHER):
            some = block.watches[start : start + TOGETHER]
            seen_by_it = seen[some] if fresh_histories else np.minimum(seen[some], learned_of[_viewers(log, some)])
            scores = learner.scores(asked_at(log, some, seen_by_it))
            if not np.isfinite(scores).all():
                raise ValueError(f"{learner.name}: expected a number for every video, got one that is none: it did not learn")
            ranks.append(ranks_of(scores, asked_at(log, some, seen[some]).histories, log.videos[some]))
            order.append(some)
            done(len(some))
        learn_s, ask_s = learn_s + synced - began, ask_s + time.perf_counter() - synced
    rows = np.concatenate(order)
    return Replayed(
        name=learner.name,
        ranks=Ranks(np.concatenate(ranks), watched_before(log)[rows] <= COLD),
        viewers=_viewers(log, rows),
        at=log.at[rows],
        syncs=syncs,
        learned=learned,
        fit_s=learn_s,
        judge_s=ask_s,
    )


def start(learner: Learner, log: WatchLog, *, judged: tuple[float, float]) -> None:
    """Let a learner learn what lies before the `judged` share of a log."""
    block = next(blocks(log, sync_ms=None, judged=judged))
    learner.learn(*_known(log, block.known, np.zeros(len(log.viewer_ids), np.int64)))


def blocks(log: WatchLog, *, sync_ms: int | None, judged: tuple[float, float] = (WARM_UP, 1.0)) -> Iterator[Block]:
    """Yield the judged watches of a log by intervals of event time; where nothing was watched there is none."""
    order = np.argsort(log.at, kind="stable")
    first, last = (int(share * len(log)) for share in judged)
    # A second is not cut in two: all of it is judged, or learned from before.
    begin = log.at[order[first]] // SECOND_MS * SECOND_MS if first < last else 0
    if first >= last or log.at[order[0]] >= begin:
        came = f"got {len(log)}, of which those from {first} to {last} are to be judged"
        raise ValueError(f"expected watches to be judged, and others before them; {came}")
    viewers = log.viewers()
    known = np.bincount(viewers[log.at < begin], minlength=len(log.viewer_ids))
    watches = order[np.searchsorted(log.at[order], begin) : last]
    interval_of = np.zeros(len(watches), np.int64) if sync_ms is None else log.at[watches] // sync_ms
    for part in np.split(watches, np.flatnonzero(np.diff(interval_of)) + 1):
        yield Block(part, known)
        known = known + np.bincount(viewers[part], minlength=len(known))


def watched_before(log: WatchLog) -> Rows:
    """Return how often the video of each watch of a log had been watched before its second, (n,)."""
    seconds = log.at // SECOND_MS
    by_video = np.lexsort((seconds, log.videos))
    begins = np.ones(len(log), bool)
    begins[1:] = (np.diff(log.videos[by_video]) != 0) | (np.diff(seconds[by_video]) != 0)
    places = np.arange(len(log))
    of_video = np.concatenate([[0], np.cumsum(log.counts())])[log.videos[by_video]]
    counts = np.empty(len(log), np.int64)
    counts[by_video] = np.maximum.accumulate(np.where(begins, places, 0)) - of_video
    return counts


def _known(log: WatchLog, lengths: Rows, learned: Rows) -> tuple[WatchLog, Chosen]:
    """Return the first `lengths` watches of each viewer of a log, and which of them are not among the first `learned`."""
    # Viewers who did not come yet are nobody's to count.
    viewers = np.flatnonzero(lengths)
    known = log.first(lengths).chosen(viewers)
    places = np.arange(len(known)) - np.repeat(known.bounds[:-1], known.lengths)
    return known, places >= np.repeat(learned[viewers], known.lengths)


def _viewers(log: WatchLog, watches: Rows) -> Rows:
    return np.searchsorted(log.bounds, watches, side="right") - 1
