"""Stretches of viewers' histories: what is learned from and, before it, what was seen by then."""

import numpy as np
from numpy.typing import NDArray

from models.retrieval.log import Rows, WatchLog
from models.retrieval.recipe import HISTORY

# Watches learned from at the end of one stretch: with more the first see too little before them, fewer take more stretches.
LEARNED = HISTORY // 2

Chosen = NDArray[np.bool_]


def windows(log: WatchLog, ends: Rows) -> tuple[WatchLog, Rows]:
    """Return the stretches of at most 51 watches that end with the watches `ends`, as a log of as many viewers.

    With it comes which watch of `log` each of its watches is.
    """
    viewers = np.searchsorted(log.bounds, ends, side="right") - 1
    starts = np.maximum(log.bounds[viewers], ends - HISTORY)
    lengths = ends - starts + 1
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.repeat(starts - bounds[:-1], lengths) + np.arange(bounds[-1])
    names = tuple(log.viewer_ids[viewer] for viewer in viewers)
    return WatchLog(names, log.video_ids, log.texts, bounds, log.videos[rows], log.at[rows], log.interest[rows]), rows


def windows_of(log: WatchLog, learned: Chosen) -> tuple[WatchLog, Chosen]:
    """Return stretches that hold each watch that is `learned`, (n,), once as such; and which of their watches those are."""
    chosen = np.flatnonzero(learned)
    viewers = np.searchsorted(log.bounds, chosen, side="right") - 1
    last = np.maximum.reduceat(chosen, first_of_each(viewers)) if len(chosen) else chosen
    of_last = np.repeat(last, np.diff(np.append(first_of_each(viewers), len(chosen))))
    ends = np.unique(of_last - (of_last - chosen) // LEARNED * LEARNED)
    stretches, rows = windows(log, ends)
    left = np.repeat(ends, stretches.lengths) - rows
    return stretches, learned[rows] & (left < LEARNED)


def joined(*parts: tuple[WatchLog, Chosen]) -> tuple[WatchLog, Chosen]:
    """Return stretches of the same log end to end."""
    logs, learned = zip(*parts, strict=True)
    lengths = np.concatenate([log.lengths for log in logs])
    return WatchLog(
        viewer_ids=tuple(viewer for log in logs for viewer in log.viewer_ids),
        video_ids=logs[0].video_ids,
        texts=logs[0].texts,
        bounds=np.concatenate([[0], np.cumsum(lengths)]),
        videos=np.concatenate([log.videos for log in logs]),
        at=np.concatenate([log.at for log in logs]),
        interest=np.concatenate([log.interest for log in logs]),
    ), np.concatenate(learned)


def first_of_each(sorted_values: Rows) -> Rows:
    """Return where each value begins, of values sorted."""
    return np.flatnonzero(np.diff(sorted_values, prepend=-1))
