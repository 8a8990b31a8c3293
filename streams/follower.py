"""A thread that follows topics from their beginning and hands over what comes: how memory is filled from compacted topics."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.codec import BadEvent, decode
from streams.kafka import KafkaSettings, consumer_config
from streams.topics import BY_NAME, Topic

log = logging.getLogger(__name__)


class Followed(msgspec.Struct, frozen=True):
    """One event of a followed topic; `event` is None for a tombstone."""

    topic: Topic
    key: str
    event: Any
    appended_at: int


class Follower:
    """Reads `topics` from the beginning (or, `from_end`, from now on) and calls `handle` with each batch, in order.

    `wait_ms` is how long an event may wait to be read.

    A topic's bad events are skipped and counted: their own flow has made dead letters of them. `caught_up` is set once
    every partition was read to the end it had.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[Topic],
        handle: Callable[[list[Followed]], None],
        *,
        from_end: bool = False,
        wait_ms: int = 20,
        name: str = "follower",
    ) -> None:
        self.caught_up = threading.Event()
        self.skipped = 0
        self._topics = topics
        self._handle = handle
        self._start = OFFSET_END if from_end else OFFSET_BEGINNING
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
        consumer.assign([TopicPartition(name, partition, self._start) for name, partition in unread])
        while not self._closing.is_set():
            messages = consumer.consume(1000, 0.05)
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
                self._handle([followed for message in batch if (followed := self._decode(message)) is not None])
            if not unread and not self.caught_up.is_set():
                self.caught_up.set()

    def _decode(self, message: Message) -> Followed | None:
        topic = BY_NAME[message.topic() or ""]
        payload = message.value()
        try:
            event = None if payload is None else decode(topic, payload)
        except BadEvent:
            self.skipped += 1
            return None
        _, appended_at = message.timestamp()
        key = (message.key() or b"").decode("utf-8", "replace")
        return Followed(topic, key, event, appended_at or int(time.time() * 1000))
