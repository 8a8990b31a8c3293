"""One partition: batches in the order they came, in files that nobody else sees, the oldest of which go by age."""

import os
import tempfile
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from deploy.local.broker.batch import Batch, placed

# What goes at once, when the newest of it is old enough: smaller is more files, larger keeps events longer than they should be.
SEGMENT_BYTES = 64 * 2**20
SEGMENT_MS = 3_600_000


class OffsetOutOfRange(LookupError):
    """No such offset, now or any more."""


@dataclass
class _Segment:
    """A stretch of a log, and where in its file each batch begins."""

    file: IO[bytes]
    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    positions: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[int]" = field(default_factory=lambda: array("q"))
    size: int = 0

    def write(self, data: bytes) -> None:
        """Put `data` behind all that counts; it counts once `size` says so."""
        written = 0
        while written < len(data):
            written += os.pwrite(self.file.fileno(), data[written:], self.size + written)


class Log:
    """The batches of one partition, from offset `start` up to `end`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._segments: list[_Segment] = []
        self.end = 0

    @property
    def start(self) -> int:
        """The oldest offset there is."""
        return self._segments[0].offsets[0] if self._segments else self.end

    def append(self, batch: Batch, *, appended_at: int | None) -> int:
        """Return the offset at which `batch` lies from now on.

        Raises:
            OSError: the disk has no room; then it lies nowhere.
        """
        data = placed(batch, offset=self.end, appended_at=appended_at)
        segment = self._segments[-1] if self._segments else None
        newest_at = batch.newest_at if appended_at is None else appended_at
        if segment is None or segment.size + len(data) > SEGMENT_BYTES or newest_at > segment.times[0] + SEGMENT_MS:
            # Without a name a file goes with the process, however that ends.
            file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
            segment = _Segment(file)
        segment.write(data)
        if not self._segments or segment is not self._segments[-1]:
            self._segments.append(segment)
        segment.offsets.append(self.end)
        segment.positions.append(segment.size)
        # Never back, or a search by time would miss what came after a clock was set back.
        segment.times.append(max(newest_at, segment.times[-1] if segment.times else newest_at))
        segment.size += len(data)
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
        segment = self._segments[bisect_right(self._segments, offset, key=_first_offset) - 1]
        first = bisect_right(segment.offsets, offset) - 1
        begin = segment.positions[first]
        limit = begin + max_bytes
        if segment.size <= limit:
            stop = segment.size
        else:
            within = bisect_right(segment.positions, limit, lo=first + 1) - 1
            one_at_least = first + 1
            stop = segment.positions[max(within, one_at_least)] if one_at_least < len(segment.positions) else segment.size
        return os.pread(segment.file.fileno(), stop - begin, begin)

    def bytes_from(self, offset: int) -> int:
        """Return the size of all batches from the one that holds `offset`, of start to end, on."""
        if offset == self.end:
            return 0
        at = bisect_right(self._segments, offset, key=_first_offset) - 1
        segment = self._segments[at]
        begin = segment.positions[bisect_right(segment.offsets, offset) - 1]
        return segment.size - begin + sum(later.size for later in self._segments[at + 1 :])

    def offset_at(self, time: int) -> tuple[int, int] | None:
        """Return the offset and time of the first batch that is not older than `time` (Unix ms), None where all are."""
        for segment in self._segments:
            if segment.times[-1] >= time:
                at = bisect_left(segment.times, time)
                return segment.offsets[at], segment.times[at]
        return None

    def expire(self, before: int) -> None:
        """Let go of the files whose newest batch is older than `before` (Unix ms); offsets go on from where they are."""
        while self._segments and self._segments[0].times[-1] < before:
            self._segments.pop(0).file.close()


def _first_offset(segment: _Segment) -> int:
    return segment.offsets[0]
