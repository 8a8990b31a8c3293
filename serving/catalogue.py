"""The catalogue: what this API node remembers of every video that may be shown, filled from the compacted topics.

A thread of a Follower writes, requests read without a lock: a row is published last and, once its video is gone, rests
before it is used again, so that a request in flight never meets another video in a row that it found.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from serving.columns import Columns, Rows
from serving.index import VectorIndex
from serving.settings import FeedSettings
from serving.spaces import Space
from streams.codec import MAX_AHEAD_MS
from streams.events import LiveEnded, Perception, Takedown, Upload, VideoStats
from streams.follower import Followed
from streams.state.interests import DIMENSIONS
from streams.topics import PERCEPTIONS, UPLOADS, VIDEO_STATS, Topic

log = logging.getLogger(__name__)

# Longer than any request takes; a video that leaves costs its 4 kB this much longer.
_REST_MS = 60_000

# The last videos that came, which may be on no shelf yet: more than come between two renewals cost each request time.
ARRIVALS = 200

# Videos that join a space at a time: while they do, no other video comes or goes.
_FILLED_AT_ONCE = 64
_FILLING_RESTS_S = 0.001


class Card(Struct, frozen=True):
    """What is shown of a video, and what was understood of it."""

    video: Upload
    stage: str
    summary: str
    topics: tuple[str, ...]
    perceived_at: int


class Catalogue:
    """Every servable video: columns by row, cards, authors and the vector index."""

    topics: tuple[Topic, ...] = (UPLOADS, PERCEPTIONS, VIDEO_STATS)

    def __init__(self, settings: FeedSettings) -> None:
        self.columns = Columns()
        self.index = VectorIndex(settings)
        self.live: set[int] = set()
        self.newest: deque[int] = deque(maxlen=ARRIVALS)
        self._spaces: list[Space] = []
        self._max_age_ms = int(settings.max_age_h * 3_600_000)
        self._writing = threading.RLock()
        self._row: dict[str, int] = {}
        self._cards: list[Card | None] = []
        self._ids: list[str] = []
        self._resting: deque[tuple[int, int]] = deque()
        self._gone: dict[str, int] = {}
        self._early_stats: dict[str, VideoStats] = {}
        self._author: dict[str, int] = {}
        self._by_author: dict[int, set[int]] = {}

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._row

    def row(self, video_id: str) -> int | None:
        """Return the row of a video, None where it is not servable."""
        return self._row.get(video_id)

    def rows(self, video_ids: Iterable[str]) -> Rows:
        """Return the rows of those videos that are servable, in order."""
        known = self._row
        return np.array([row for video_id in video_ids if (row := known.get(video_id)) is not None], dtype=np.int64)

    def card(self, row: int) -> Card:
        """Return what to show of the video in `row`."""
        card = self._cards[row]
        assert card is not None, "a row is cleared only when no request can hold it any more"
        return card

    def video_ids(self, rows: Rows) -> list[str]:
        """Return the ids of the videos in `rows`."""
        return [self._ids[row] for row in rows.tolist()]

    def find(self, video_id: str) -> Card | None:
        """Return what to show of a video, None where it is not servable."""
        row = self._row.get(video_id)
        return None if row is None else self._cards[row]

    def alive(self) -> Rows:
        """Return the rows of all servable videos."""
        return np.flatnonzero(self.columns.alive)

    def vectors(self, rows: Rows) -> NDArray[np.float32]:
        """Return the unit embeddings of `rows`, shape (n, 384)."""
        return self.columns.embedding[rows]

    def authors(self, author_ids: Iterable[str]) -> NDArray[np.int32]:
        """Return the numbers by which the column `author` knows these authors; unknown ones are left out."""
        known = self._author
        return np.array([known[name] for name in author_ids if name in known], dtype=np.int32)

    def videos_of(self, author: int) -> list[int]:
        """Return the rows of one author's videos (the author as in the column `author`)."""
        return list(self._by_author.get(author, ()))

    def is_gone(self, video_id: str) -> bool:
        """Tell whether a video was taken down or its live room ended."""
        return video_id in self._gone

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def follow(self, batch: Sequence[Followed]) -> None:
        """Take over a batch of uploads, perceptions and statistics, as a Follower hands it over."""
        perceived: list[Perception] = []
        now_ms = 0
        for followed in batch:
            now_ms = max(now_ms, followed.appended_at)
            match followed.event:
                case Perception() as perception:
                    perceived.append(perception)
                case VideoStats() as stats:
                    # Counts of a time to come would not decay until then.
                    self.set_stats(structs.replace(stats, as_of=min(stats.as_of, followed.appended_at)))
                case Takedown(video_id=video_id, at=at) | LiveEnded(video_id=video_id, at=at):
                    self.take_out(video_id, at=at)
                case None if followed.topic is PERCEPTIONS:
                    perceived = [p for p in perceived if p.video.video_id != followed.key]
                    self.remove([followed.key], now_ms=now_ms)
        if perceived:
            self.put(perceived, now_ms=now_ms)

    def put(self, perceptions: Sequence[Perception], *, now_ms: int) -> int:
        """Make these videos servable, or renew what is known of them; return how many are.

        Left out are those that were taken down, that ended, or that are too old.
        """
        newest = {p.video.video_id: p for p in perceptions}
        with self._writing:
            kept = [
                p
                for video_id, p in newest.items()
                if video_id not in self._gone and p.video.uploaded_at > now_ms - self._max_age_ms
            ]
            if not kept:
                return 0
            vectors = np.frombuffer(b"".join(p.embedding for p in kept), dtype="<f2").reshape(-1, DIMENSIONS)
            rows = np.empty(len(kept), dtype=np.int64)
            moved = np.zeros(len(kept), dtype=np.bool_)
            for place, perception in enumerate(kept):
                known = self._row.get(perception.video.video_id)
                moved[place] = known is not None
                rows[place] = self._free_row(now_ms) if known is None else known
                self._describe(int(rows[place]), perception, now_ms)
            self.index.remove(rows[moved])
            self.columns.embedding[rows] = vectors
            # Before anybody can find them: a page asks a space for the vectors of whatever it found.
            self._place(rows, vectors)
            self.columns.alive[rows] = True
            self.index.add(rows, vectors)
            for row, perception, known_before in zip(rows.tolist(), kept, moved.tolist(), strict=True):
                if not known_before:
                    self._row[perception.video.video_id] = row
                    self.newest.append(row)
            return len(kept)

    def set_stats(self, stats: VideoStats) -> None:
        """Take over a video's counts, now or, if it is not perceived yet, when it is."""
        with self._writing:
            row = self._row.get(stats.video_id)
            if row is not None:
                self.columns.set_stats(row, stats)
            elif stats.video_id not in self._gone:
                self._early_stats[stats.video_id] = stats

    def take_out(self, video_id: str, *, at: int) -> int:
        """Remove a video for good: a late perception does not bring it back. Return how many went, 0 or 1."""
        with self._writing:
            self._gone[video_id] = at
            self._early_stats.pop(video_id, None)
            return self.remove([video_id], now_ms=at)

    def remove(self, video_ids: Iterable[str], *, now_ms: int) -> int:
        """Remove videos; return how many there were."""
        with self._writing:
            rows = [row for video_id in video_ids if (row := self._row.pop(video_id, None)) is not None]
            for row in rows:
                self.columns.alive[row] = False
                self.live.discard(row)
                self._by_author[int(self.columns.author[row])].discard(row)
                self._resting.append((now_ms + _REST_MS, row))
            gone = np.array(rows, dtype=np.int64)
            self.index.remove(gone)
            for space in self._spaces:
                space.remove(gone)
            return len(rows)

    def fill(self, space: Space, stopped: threading.Event) -> None:
        """Add every servable video to a space, and keep it so; `stopped` ends it early."""
        with self._writing:
            self._spaces = [*self._spaces, space]
            # What comes from now on is added as it comes.
            rows = self.alive()
        for start in range(0, len(rows), _FILLED_AT_ONCE):
            # A moment for whoever waits for the lock: a takedown does so on the loop.
            if stopped.wait(_FILLING_RESTS_S):
                return
            with self._writing:
                part = rows[start : start + _FILLED_AT_ONCE]
                part = part[self.columns.alive[part]]
                space.add(part, [self.card(row) for row in part.tolist()], self.vectors(part))

    def _place(self, rows: Rows, vectors: NDArray[np.floating]) -> None:
        """Add videos to every space. What a space can't take is no candidate of it, and is servable all the same."""
        for space in self._spaces:
            try:
                space.add(rows, [self.card(row) for row in rows.tolist()], vectors)
            except Exception:
                log.exception("%d videos are not in the space of the towers %s", len(rows), space.version)

    def leave(self, space: Space) -> None:
        """Let go of a space."""
        with self._writing:
            self._spaces = [each for each in self._spaces if each is not space]

    def evict(self, *, now_ms: int) -> int:
        """Remove what is too old, and forget what can no longer come back; return how many videos went."""
        oldest = now_ms - self._max_age_ms
        alive = self.alive()
        old = alive[self.columns.uploaded_at[alive] <= oldest]
        with self._writing:
            # A perception this late is refused for its age, so that the memory of its takedown may go as well.
            self._gone = {video_id: at for video_id, at in self._gone.items() if at > oldest - MAX_AHEAD_MS}
            self._early_stats = {key: stats for key, stats in self._early_stats.items() if stats.as_of > oldest}
        return self.remove(self.video_ids(old), now_ms=now_ms)

    def _free_row(self, now_ms: int) -> int:
        if self._resting and self._resting[0][0] <= now_ms:
            _, row = self._resting.popleft()
            self.columns.clear(row)
            return row
        if len(self._cards) == len(self.columns):
            self.columns.grow()
        self._cards.append(None)
        self._ids.append("")
        return len(self._cards) - 1

    def _describe(self, row: int, perception: Perception, now_ms: int) -> None:
        video, columns = perception.video, self.columns
        author = self._author.setdefault(video.author_id, len(self._author))
        self._ids[row] = video.video_id
        self._cards[row] = Card(
            video=video,
            stage=perception.stage,
            summary=perception.summary,
            topics=tuple(topic.name for topic in perception.topics),
            perceived_at=perception.perceived_at,
        )
        self._by_author.get(int(columns.author[row]), set()).discard(row)
        self._by_author.setdefault(author, set()).add(row)
        columns.author[row] = author
        # A video of tomorrow would be the freshest until then, and never too old.
        columns.uploaded_at[row] = min(video.uploaded_at, now_ms)
        columns.duration_ms[row] = video.duration_ms or 0
        columns.unsafe[row] = max(perception.safety.values(), default=0.0)
        if video.kind == "live":
            columns.live[row] = True
            self.live.add(row)
        stats = self._early_stats.pop(video.video_id, None)
        if stats is not None:
            columns.set_stats(row, stats)
