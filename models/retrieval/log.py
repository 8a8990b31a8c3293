"""What viewers watched, as arrays: what the towers and the ranker learn from, and are judged by.

Rules for a log as it comes: an event that comes twice counts once, and so does a video that a viewer watches again; videos that
nobody uploaded are left out; of a viewer with more than 2,000 watches the newest count; an event whose time is wrong is in the
wrong place of its viewer's order, and no more. The interest in a video is the strongest that was shown before the viewer's next
watch: what was said of it later is not known when that one is to be found. `dropped` says how many events fell to each rule.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streams.events import Interaction, Upload
from streams.features import Vector
from streams.state.engagement import INTEREST

# What says that a viewer wanted a video; a play alone says that it was there.
WANTED = frozenset({"complete", "like", "comment", "share", "follow", "gift"})
# What a machine, or nobody, watches: more of one viewer would outweigh a hundred others.
MOST_WATCHES = 2_000

# The order of watches within a second means nothing.
SECOND_MS = 1_000

Rows = NDArray[np.int64]
# When an interest was shown, and how strong it is.
Shown = tuple[int, float]


@dataclass(frozen=True)
class History:
    """What one viewer watched, oldest first, (n,) each: rows of videos, the `interest` shown in each, and `at` (Unix ms)."""

    videos: Rows
    interest: Vector
    at: Rows

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, part: slice) -> "History":
        return History(self.videos[part], self.interest[part], self.at[part])


@dataclass(frozen=True)
class WatchLog:
    """The watches of n viewers of m videos, viewer by viewer, each viewer's in the order of their times.

    Viewer v watched `videos[bounds[v]:bounds[v + 1]]`, rows of `video_ids`, at `at` (Unix ms), and showed `interest` in them,
    -1..1. `texts` are the videos' titles with their tags.
    """

    viewer_ids: tuple[str, ...]
    video_ids: tuple[str, ...]
    texts: tuple[str, ...]
    bounds: Rows
    videos: Rows
    at: Rows
    interest: Vector
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def lengths(self) -> Rows:
        """Return how many videos each viewer watched, (n,)."""
        return np.diff(self.bounds)

    def of(self, viewer: int) -> Rows:
        """Return the rows of the videos that a viewer watched, oldest first."""
        return self.history(viewer).videos

    def history(self, viewer: int) -> History:
        """Return what a viewer watched."""
        part = slice(self.bounds[viewer], self.bounds[viewer + 1])
        return History(self.videos[part], self.interest[part], self.at[part])

    def counts(self) -> Rows:
        """Return how often each video was watched, (m,)."""
        return np.bincount(self.videos, minlength=len(self.video_ids))

    def viewers(self) -> Rows:
        """Return the viewer of each watch."""
        return np.repeat(np.arange(len(self.viewer_ids)), self.lengths)

    def chosen(self, viewers: Rows) -> "WatchLog":
        """Return the log of these viewers only, in this order; the videos stay all."""
        lengths = self.lengths[viewers]
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.repeat(self.bounds[viewers] - bounds[:-1], lengths) + np.arange(bounds[-1])
        names = tuple(self.viewer_ids[viewer] for viewer in viewers)
        return replace(self._of_rows(rows), viewer_ids=names, bounds=bounds)

    def first(self, lengths: Rows) -> "WatchLog":
        """Return the log with only the first `lengths` watches of each viewer, (n,)."""
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.repeat(self.bounds[:-1] - bounds[:-1], lengths) + np.arange(bounds[-1])
        return replace(self._of_rows(rows), bounds=bounds)

    def arranged(self, order: Rows) -> "WatchLog":
        """Return the log with its videos in another order, (m,): the rows that are first, second, and so on."""
        rows = np.empty(len(order), np.int64)
        rows[order] = np.arange(len(order))
        names, texts = (tuple(of[row] for row in order) for of in (self.video_ids, self.texts))
        return replace(self, video_ids=names, texts=texts, videos=rows[self.videos])

    def _of_rows(self, rows: Rows) -> "WatchLog":
        return replace(self, videos=self.videos[rows], at=self.at[rows], interest=self.interest[rows])


def watch_log(uploads: Iterable[Upload], interactions: Iterable[Interaction]) -> WatchLog:
    """Return the log of events, in whatever order they come."""
    known = {upload.video_id: upload for upload in uploads}
    rows = {video: row for row, video in enumerate(known)}
    dropped: Counter[str] = Counter()
    watches: dict[str, dict[int, list[Shown]]] = {}
    for event in _once(interactions, dropped):
        if event.action not in WANTED:
            continue
        row = rows.get(event.video_id)
        if row is None:
            dropped["of unknown videos"] += 1
            continue
        of_viewer = watches.setdefault(event.user_id, {})
        if row in of_viewer:
            dropped["of a video watched before"] += 1
        of_viewer.setdefault(row, []).append((event.occurred_at, INTEREST[event.action]))
    ordered = {viewer: _newest(of_viewer, dropped) for viewer, of_viewer in watches.items()}
    flat = [watch for of_viewer in ordered.values() for watch in of_viewer]
    return WatchLog(
        viewer_ids=tuple(ordered),
        video_ids=tuple(known),
        texts=tuple(" ".join([upload.title, *upload.tags]).strip() for upload in known.values()),
        bounds=np.concatenate([[0], np.cumsum([len(of_viewer) for of_viewer in ordered.values()], dtype=np.int64)]),
        videos=np.array([row for row, *_ in flat], np.int64),
        at=np.array([at for _, at, _ in flat], np.int64),
        interest=np.array([interest for *_, interest in flat], np.float32),
        dropped=dict(dropped),
    )


def _once(interactions: Iterable[Interaction], dropped: Counter[str]) -> Iterator[Interaction]:
    seen: set[str] = set()
    for event in interactions:
        if event.event_id in seen:
            dropped["that came twice"] += 1
            continue
        seen.add(event.event_id)
        yield event


def _newest(of_viewer: Mapping[int, list[Shown]], dropped: Counter[str]) -> list[tuple[int, int, float]]:
    """Return the newest watches of one viewer in their order: the video, when, and the interest."""
    ordered = sorted(((row, min(shown)[0], shown) for row, shown in of_viewer.items()), key=lambda watch: watch[1])
    seconds = [at // SECOND_MS for _, at, _ in ordered]
    ends = [*(max(second + 1, following) for second, following in pairwise(seconds)), math.inf]
    dropped["of viewers with too many"] += max(0, len(ordered) - MOST_WATCHES)
    return [
        (row, at, max(interest for shown_at, interest in shown if shown_at // SECOND_MS < end))
        for (row, at, shown), end in zip(ordered, ends, strict=True)
    ][-MOST_WATCHES:]
