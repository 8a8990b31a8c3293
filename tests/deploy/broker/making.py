"""Record batches as a producer makes them, by Kafka's own layout."""

from crc32c import crc32c

from deploy.local.broker.batch import HEADER

# Of the header, what the checksum covers not.
_AFTER_CRC = 21


def batch(
    records: int = 1, size: int = 20, *, producer: int = -1, epoch: int = -1, sequence: int = -1, newest_at: int = 1_000
) -> bytes:
    """Return a batch of so many records whose content is `size` bytes of nothing: no broker looks into it."""
    length = HEADER.size + size - 12
    fields = (0, records - 1, newest_at, newest_at, producer, epoch, sequence, records)
    checked = HEADER.pack(0, length, 0, 2, 0, *fields)[_AFTER_CRC:] + b"x" * size
    return HEADER.pack(0, length, 0, 2, crc32c(checked), *fields) + b"x" * size
