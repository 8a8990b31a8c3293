"""A thread that follows topics from their beginning and hands over what comes: how memory is filled from compacted topics."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.codec import BadEvent, check_key, check_time, decode
from streams.kafka import KafkaSettings, consumer_config, trace_of
from streams.topics import BY_NAME, FROM_PRODUCERS, Topic

log = logging.getLogger(__name__)


class Followed(msgspec.Struct, frozen=True):
    """One event of a followed topic, its place there and its trace context; `event` is None for a tombstone."""

    topic: Topic
    key: str
    event: Any
    appended_at: int
    partition: int = 0
    offset: int = 0
    trace: str | None = None


def followed(
    topic: Topic,
    payload: bytes | None,
    key: bytes | None,
    appended_at: int,
    place: tuple[int, int] = (0, 0),
    trace: str | None = None,
) -> Followed:
    """Return what came, as `handle` gets it.

    Raises:
        BadEvent: it is no event of `topic`, came under another key than its own, or its time is one that no flow takes.
    """
    event = None
    if payload is not None:
        event = decode(topic, payload)
        check_key(topic, event, key)
        if topic in FROM_PRODUCERS:
            check_time(event, received_at=appended_at)
    return Followed(topic, (key or b"").decode("utf-8", "replace"), event, appended_at, *place, trace)


def hand_over(
    handle: Callable[[list[Followed]], None], batch: list[Followed], skip: Callable[[Followed, Exception], None]
) -> None:
    """Give `batch` to `handle`; where that fails one by one, so that only what can't be taken in is left to `skip`.

    What was taken in is then given again: a handler keeps the newest word of each key, and the same word twice changes nothing.
    """
    try:
        handle(batch)
    except Exception:
        log.exception("a batch of %d can't be taken in: each event of it is tried alone", len(batch))
        for one in batch:
            try:
                handle([one])
            except Exception as error:
                skip(one, error)


class Follower:
    """Reads `topics` from the beginning and calls `handle` with each batch, in order.

    With `from_end` it reads from now on, with `from_ms` what was appended at that time, Unix ms, or later.

    `wait_ms` is how long an event may wait for others to be read with it, `at_once` how many are in memory at a time.

    What is no event of its topic, came under another key than its own, or makes `handle` fail, is skipped and counted: one bad
    event must not keep memory from moving. `caught_up` is set once every partition was read to the end it had.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[Topic],
        handle: Callable[[list[Followed]], None],
        *,
        from_end: bool = False,
        from_ms: int | None = None,
        wait_ms: int = 0,
        at_once: int = 1000,
        name: str = "follower",
    ) -> None:
        self.caught_up = threading.Event()
        self.skipped = 0
        self._topics = topics
        self._handle = handle
        self._at_once = at_once
        self._start = OFFSET_END if from_end else OFFSET_BEGINNING
        self._from_ms = from_ms
        self._config = consumer_config(settings, wait_ms=wait_ms) | {
            "group.id": f"headwater-{name}",
            "enable.partition.eof": True,
        }
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, *, timeout_s: float | None = None) -> "Follower":
        """Begin to follow; with `timeout_s`, return once caught up or raise TimeoutError."""
        self._thread.start()
        if timeout_s is not None and not self.caught_up.wait(timeout_s):
            names = ", ".join(topic.name for topic in self._topics)
            raise TimeoutError(f"{names}: not read to the end within {timeout_s:g} s")
        return self

    def close(self) -> None:
        """Stop following."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        while not self._closing.is_set():
            consumer = Consumer(self._config)
            try:
                self._follow(consumer)
            except Exception:
                # Whatever went wrong, memory that silently stops moving is worse than reading all of it again.
                log.exception("%s: begins again in 1 s", self._thread.name)
                self._closing.wait(1.0)
            finally:
                consumer.close()

    def _follow(self, consumer: Consumer) -> None:
        metadata = consumer.list_topics(timeout=10.0)
        unread = {(t.name, p) for t in self._topics for p in metadata.topics[t.name].partitions}
        begin = self._start if self._from_ms is None else self._from_ms
        places = [TopicPartition(name, partition, begin) for name, partition in unread]
        consumer.assign(places if self._from_ms is None else consumer.offsets_for_times(places, timeout=10.0))
        while not self._closing.is_set():
            # Asked for many at once, librdkafka would wait for so many, or until time is up.
            first = consumer.poll(0.05)
            messages = [] if first is None else [first, *consumer.consume(self._at_once - 1, 0)]
            batch = []
            for message in messages:
                error = message.error()
                if error is None:
                    batch.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard((message.topic(), message.partition()))
                elif error.fatal():
                    raise KafkaException(error)
                else:
                    log.warning("%s: %s", self._thread.name, error.str())
            if batch:
                taken = [one for message in batch if (one := self._decode(message)) is not None]
                hand_over(self._handle, taken, lambda one, error: self._skip(one.topic, one.key, error))
            if not unread and not self.caught_up.is_set():
                self.caught_up.set()

    def _skip(self, topic: Topic, key: str, error: Exception) -> None:
        self.skipped += 1
        # The first, the second, the fourth …: a flood of them must not fill the disk with its log.
        if self.skipped.bit_count() == 1:
            log.warning("%s: skipped %d, now of %s, key %.128r: %s", self._thread.name, self.skipped, topic.name, key, error)

    def _decode(self, message: Message) -> Followed | None:
        topic, key = BY_NAME[message.topic() or ""], message.key()
        _, appended_at = message.timestamp()
        try:
            place = message.partition() or 0, message.offset() or 0
            trace = trace_of(message.headers())
            return followed(topic, message.value(), key, appended_at or int(time.time() * 1000), place, trace)
        except BadEvent as error:
            self._skip(topic, (key or b"").decode("utf-8", "replace"), error)
            return None
