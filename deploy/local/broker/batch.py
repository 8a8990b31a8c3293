"""A record batch, as producers send it and consumers get it: opaque but for its header.

Layout (Kafka's protocol guide, "Record Batch", magic 2): base offset 0:8, length 8:12, leader epoch 12:16, magic 16, CRC-32C
of all that follows 17:21, attributes 21:23, last offset delta 23:27, base timestamp 27:35, newest timestamp 35:43, producer id
43:51, producer epoch 51:53, base sequence 53:57, count of records 57:61.
"""

import struct
from dataclasses import dataclass

from crc32c import crc32c

HEADER = struct.Struct(">qiibIhiqqqhii")
_AFTER_CRC, _ATTRIBUTES, _NEWEST = 21, 21, 35
# What the length does not count: the base offset and itself.
_BEFORE_LENGTH = 12
_MAGIC = 2
_LOG_APPEND_TIME = 0x08
NO_PRODUCER = -1


class BadBatch(ValueError):
    """These bytes are no record batch, or were changed on their way."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: its bytes, and of its header what a log needs. Timestamps are Unix ms."""

    data: bytes
    records: int
    newest_at: int
    producer_id: int
    producer_epoch: int
    first_sequence: int

    @property
    def last_sequence(self) -> int:
        """The sequence number of the last record; they wrap at 2^31."""
        return (self.first_sequence + self.records - 1) & 0x7FFFFFFF


def batch_of(data: bytes) -> Batch:
    """Return the batch that a producer sent, which is one to a partition. Raises BadBatch."""
    if len(data) < HEADER.size:
        raise BadBatch(f"expected a header of {HEADER.size} bytes, got {len(data)}")
    header = HEADER.unpack_from(data)
    _, length, _, magic, crc, _, last_delta, _, newest_at, producer_id, producer_epoch, first_sequence, records = header
    if magic != _MAGIC:
        raise BadBatch(f"expected a record batch of magic {_MAGIC}, got {magic}")
    if length + _BEFORE_LENGTH != len(data):
        raise BadBatch(f"expected one batch of {length + _BEFORE_LENGTH} bytes, as its header says, got {len(data)}")
    if records < 1 or last_delta != records - 1:
        raise BadBatch(f"expected as many offsets as records, got {last_delta + 1} and {records}")
    if crc32c(memoryview(data)[_AFTER_CRC:]) != crc:
        raise BadBatch("the checksum is not that of its bytes")
    return Batch(data, records, newest_at, producer_id, producer_epoch, first_sequence)


def header_of(data: bytes, at: int) -> tuple[int, int, int, int]:
    """Return offset, size in bytes, count of records and newest time (Unix ms) of a placed batch that begins at `at`."""
    offset, length, _, _, _, _, _, _, newest_at, _, _, _, records = HEADER.unpack_from(data, at)
    return offset, length + _BEFORE_LENGTH, records, newest_at


def placed(batch: Batch, *, offset: int, appended_at: int | None) -> bytes:
    """Return the batch as it lies in a log at `offset`, all its records stamped with `appended_at` (Unix ms) where given."""
    data = bytearray(batch.data)
    struct.pack_into(">q", data, 0, offset)
    struct.pack_into(">i", data, 12, 0)
    if appended_at is not None:
        (attributes,) = struct.unpack_from(">h", data, _ATTRIBUTES)
        struct.pack_into(">h", data, _ATTRIBUTES, attributes | _LOG_APPEND_TIME)
        struct.pack_into(">q", data, _NEWEST, appended_at)
        struct.pack_into(">I", data, 17, crc32c(memoryview(data)[_AFTER_CRC:]))
    return bytes(data)
