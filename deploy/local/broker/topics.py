"""The topics: their partitions, their settings, and who waits for more of them."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from deploy.local.broker.batch import batch_of
from deploy.local.broker.log import Log
from deploy.local.broker.sequences import Sequences
from streams.clock import Clock

# Kafka's own bound on a batch, unless the topic has one.
_MAX_BATCH_BYTES = 1_048_588
_WEEK_MS = 7 * 86_400_000


class TooLarge(ValueError):
    """A batch past the topic's `max.message.bytes`."""


class BadConfig(ValueError):
    """A setting of a topic that is not what it should be."""


class Partition:
    """A log, its producers, and those who wait for its next batch."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._sequences = Sequences()
        self.waiting: set[asyncio.Future[None]] = set()
        """What is to be done at the next batch; each takes itself out."""

    def append(self, data: bytes, *, appended_at: int | None, max_bytes: int) -> int:
        """Take a batch and return the offset of its first record; one that was sent before lies where it lay.

        Raises:
            BadBatch, TooLarge, OutOfOrder, Fenced: it must not be appended.
            OSError: the disk takes none.
        """
        if len(data) > max_bytes:
            raise TooLarge(f"expected at most {max_bytes} bytes (max.message.bytes), got {len(data)}")
        batch = batch_of(data)
        offset = self._sequences.offset_of(batch)
        if offset is None:
            try:
                offset = self.log.append(batch, appended_at=appended_at)
            except OSError:
                self._sequences.missed(batch)
                raise
            self._sequences.note(batch, offset)
            for waiting in self.waiting:
                wake(waiting)
        return offset


class Topic:
    """Partitions and the settings that this broker knows: how it stamps, how long it keeps, how large a batch may be."""

    def __init__(self, partitions: Iterable[Partition], config: Mapping[str, str | None]) -> None:
        self.partitions = tuple(partitions)
        self._stamps = config.get("message.timestamp.type") == "LogAppendTime"
        self.max_bytes = _number(config, "max.message.bytes", _MAX_BATCH_BYTES)
        deletes = "delete" in (config.get("cleanup.policy") or "delete")
        retention_ms = _number(config, "retention.ms", _WEEK_MS)
        # A compacted topic keeps every event: this broker never looks into a batch, and its readers take the last of each key.
        self._retention_ms = retention_ms if deletes and retention_ms >= 0 else None

    def appended_at(self, now: int) -> int | None:
        """Return the time that a batch is stamped with now, None where its producer's stays."""
        return now if self._stamps else None

    def expire(self, now: int) -> None:
        """Let go of what is older than the topic keeps."""
        if self._retention_ms is not None:
            for partition in self.partitions:
                partition.log.expire(now - self._retention_ms)


class Topics:
    """All topics by name. None is made by a mere question for it: a misspelt one would swallow its events."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._topics: dict[str, Topic] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._topics)

    def get(self, name: str) -> Topic | None:
        """Return a topic, or None."""
        return self._topics.get(name)

    def partition(self, name: str, number: int) -> Partition | None:
        """Return a partition, or None."""
        topic = self._topics.get(name)
        return topic.partitions[number] if topic is not None and 0 <= number < len(topic.partitions) else None

    def create(self, name: str, partitions: int, config: Mapping[str, str | None], *, only_check: bool = False) -> None:
        """Make a topic that does not exist yet. Raises BadConfig."""
        made = Topic([Partition(Log(self._folder)) for _ in range(partitions)], config)
        if not only_check:
            self._topics[name] = made

    def now(self) -> int:
        """Return the time, Unix ms."""
        return self._clock()

    def expire(self) -> None:
        """Let go of what is older than each topic keeps; call it now and then."""
        for topic in self._topics.values():
            topic.expire(self._clock())


def wake(waiting: asyncio.Future[None]) -> None:
    """End a wait, unless something else has."""
    if not waiting.done():
        waiting.set_result(None)


def _number(config: Mapping[str, str | None], name: str, default: int) -> int:
    given = config.get(name)
    try:
        return default if given is None else int(given)
    except ValueError:
        raise BadConfig(f"{name}: expected a whole number, got {given!r}") from None
