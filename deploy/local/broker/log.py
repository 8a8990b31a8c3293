"""One partition: batches in the order they came, in files that nobody else sees, the oldest of which go by age."""

import os
import tempfile
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from deploy.local.broker.batch import HEADER, Batch, header_of, placed

# What goes at once, when the newest of it is old enough: smaller is more files, larger keeps events longer than they should be.
SEGMENT_BYTES = 64 * 2**20
SEGMENT_MS = 3_600_000
# So far apart are the batches whose places are remembered: nearer costs memory, farther reads more to find those between.
INDEX_BYTES = 16 * 2**10


class OffsetOutOfRange(LookupError):
    """No such offset, now or any more."""


@dataclass(eq=False)
class _Segment:
    """A stretch of a log in a file, with the offset, place and time of a batch every `INDEX_BYTES`."""

    file: IO[bytes]
    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    positions: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[int]" = field(default_factory=lambda: array("q"))
    """The newest time so far: never back, or a search would miss what came after a clock was set back."""
    size: int = 0
    newest_at: int = 0

    def append(self, data: bytes, offset: int, at: int) -> None:
        """Put a batch behind all that counts. Raises OSError where the disk has no room; then it does not count."""
        written = 0
        while written < len(data):
            written += os.pwrite(self.file.fileno(), data[written:], self.size + written)
        self.newest_at = max(self.newest_at, at)
        if not self.positions or self.size >= self.positions[-1] + INDEX_BYTES:
            self.offsets.append(offset)
            self.positions.append(self.size)
            self.times.append(self.newest_at)
        self.size += len(data)

    def read(self, begin: int, count: int) -> bytes:
        """Return `count` bytes from `begin` on, or what there is of them."""
        return os.pread(self.file.fileno(), min(count, self.size - begin), begin)

    def between(self, place: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield position, offset, offset after it, and time, of the batches from the index's `place` to the next."""
        begin = self.positions[place]
        end = self.positions[place + 1] if place + 1 < len(self.positions) else self.size
        data, at = self.read(begin, end - begin), 0
        while at < len(data):
            offset, size, records, newest_at = header_of(data, at)
            yield begin + at, offset, offset + records, newest_at
            at += size

    def position_of(self, offset: int) -> int:
        """Return where the batch begins that holds `offset`, which this segment does."""
        place = bisect_right(self.offsets, offset) - 1
        return next(position for position, _, after, _ in self.between(place) if offset < after)

    def offset_at(self, time: int) -> tuple[int, int]:
        """Return offset and time of the first batch that is not older than `time`; the newest is not."""
        place = max(0, bisect_left(self.times, time) - 1)
        while True:
            for _, offset, _, newest_at in self.between(place):
                if newest_at >= time:
                    return offset, newest_at
            place += 1


class Log:
    """The batches of one partition, from offset `start` up to `end`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segments: list[_Segment] = []
        self.end = 0

    @property
    def start(self) -> int:
        """The oldest offset there is."""
        return _first_offset(self._segments[0]) if self._segments else self.end

    def append(self, batch: Batch, *, appended_at: int | None) -> int:
        """Return the offset at which `batch` lies from now on.

        Raises:
            OSError: the disk has no room; then it lies nowhere.
        """
        data = placed(batch, offset=self.end, appended_at=appended_at)
        at = batch.newest_at if appended_at is None else appended_at
        segment = self._segments[-1] if self._segments else None
        if segment is None or segment.size + len(data) > SEGMENT_BYTES or at > segment.times[0] + SEGMENT_MS:
            # Without a name a file goes with the process, however that ends.
            segment = _Segment(tempfile.TemporaryFile(dir=self._folder, buffering=0))  # noqa: SIM115
            segment.append(data, self.end, at)
            self._segments.append(segment)
        else:
            segment.append(data, self.end, at)
        offset, self.end = self.end, self.end + batch.records
        return offset

    def read(self, offset: int, max_bytes: int) -> bytes:
        """Return whole batches from the one that holds `offset` on: what fits `max_bytes` and is in one file, but one at least.

        Raises:
            OffsetOutOfRange: it went already, or never was.
        """
        if not self.start <= offset <= self.end:
            raise OffsetOutOfRange(f"expected {self.start} to {self.end}, got {offset}")
        if offset == self.end:
            return b""
        segment = self._holding(offset)
        begin = segment.position_of(offset)
        data = segment.read(begin, max(max_bytes, HEADER.size))
        if begin + len(data) == segment.size:
            return data
        whole = 0
        while whole + HEADER.size <= len(data) and (size := header_of(data, whole)[1]) <= len(data) - whole:
            whole += size
        return data[:whole] or segment.read(begin, header_of(data, 0)[1])

    def bytes_from(self, offset: int) -> int:
        """Return the size of all batches from the one that holds `offset`, of start to end, on."""
        if offset == self.end:
            return 0
        segment = self._holding(offset)
        later = self._segments[self._segments.index(segment) + 1 :]
        return segment.size - segment.position_of(offset) + sum(after.size for after in later)

    def offset_at(self, time: int) -> tuple[int, int] | None:
        """Return the offset and time of the first batch that is not older than `time` (Unix ms), None where all are."""
        found = next((segment for segment in self._segments if segment.newest_at >= time), None)
        return None if found is None else found.offset_at(time)

    def expire(self, before: int) -> None:
        """Let go of the files whose newest batch is older than `before` (Unix ms); offsets go on from where they are."""
        while self._segments and self._segments[0].newest_at < before:
            self._segments.pop(0).file.close()

    def _holding(self, offset: int) -> _Segment:
        return self._segments[bisect_right(self._segments, offset, key=_first_offset) - 1]


def _first_offset(segment: _Segment) -> int:
    return segment.offsets[0]
