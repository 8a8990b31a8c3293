"""Every Kafka setting that matters, each with the failure it prevents; topics, an acknowledged producer, and headers."""

import asyncio
import logging
import re
import threading
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from pydantic import BaseModel, Field

from streams.codec import encode
from streams.events import Event
from streams.topics import TOPICS, Topic
from streams.trace_context import parse

log = logging.getLogger(__name__)

# What is worth a fetch of its own before its time is up: some hundred events.
_MANY_BYTES = 65_536
# Longer, and a consumer knows later that it has read to the end; shorter, and an idle one asks more often.
_LONG_POLL_MS = 100

Headers = list[tuple[str, str | bytes | None]]


class KafkaSettings(BaseModel):
    """Where the broker is and how to talk to it. Any librdkafka setting goes into `client`, `producer` or `consumer`."""

    bootstrap_servers: str = Field("", description="host:port,…; empty starts the embedded broker under `headwater up`")
    client: dict[str, str] = Field(default_factory=dict, description="librdkafka settings for all: SASL, TLS, …")
    producer: dict[str, str] = Field(default_factory=dict, description="librdkafka settings for producers only")
    consumer: dict[str, str] = Field(default_factory=dict, description="librdkafka settings for consumers only")
    partitions: dict[str, int] = Field(default_factory=dict, description="partitions by topic, over the defaults")
    replication_factor: int = Field(1, ge=1, description="3 on a cluster: with 1, a lost disk loses accepted events")


def partitions_of(settings: KafkaSettings, topic: Topic) -> int:
    """Return how many partitions `topic` should have."""
    return settings.partitions.get(topic.name, topic.partitions)


def client_config(settings: KafkaSettings) -> dict[str, Any]:
    """Return librdkafka's settings for any client; raises ConnectionError where no broker is named."""
    if not settings.bootstrap_servers:
        raise ConnectionError("kafka.bootstrap_servers is empty: start the local stack with `headwater up`, or name a broker")
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        # The default, 10 s at most between tries, turns a one-second broker restart into ten seconds of silence.
        "reconnect.backoff.max.ms": 1000,
        # Each try at half of this while no broker is there is a line in the log: 20 a second of each client by default.
        "reconnect.backoff.ms": 500,
        # A proxy that dropped an idle connection would otherwise be noticed only by the next request's timeout.
        "socket.keepalive.enable": True,
    } | settings.client


def producer_config(settings: KafkaSettings) -> dict[str, Any]:
    """Return librdkafka's settings for a producer that neither loses nor doubles what it was given."""
    return (
        client_config(settings)
        | {
            # Without it a retried batch is written twice, or after the batch that followed it.
            "enable.idempotence": True,
            "acks": "all",
            # A longer wait packs batches better; each millisecond is added to a tap's way to the next page.
            "linger.ms": 1,
            # Longer than an outage usually takes: what was queued, pages served from memory among it, arrives after it. The
            # API's answers do not wait for this (api.accept_timeout_s), and what is sent again counts once, by its event_id.
            "delivery.timeout.ms": 120_000,
            # Past this many bytes unsent the API answers 503; a larger queue only hides a broker that can't keep up.
            "queue.buffering.max.kbytes": 65_536,
            "compression.type": "lz4",
        }
        | settings.producer
    )


def consumer_config(settings: KafkaSettings, *, wait_ms: int = 0) -> dict[str, Any]:
    """Return librdkafka's settings for a consumer that starts at the oldest event.

    `wait_ms` is how long an event may wait at the broker for others to come with it; 0 fetches each as it comes, at the cost
    of an answer for each.
    """
    return (
        client_config(settings)
        | {
            # librdkafka's default meets a resume offset that retention removed with silence: no rows and no error.
            "auto.offset.reset": "earliest",
            # A long poll ends at the first event; with `wait_ms`, when there are many or time is up.
            "fetch.min.bytes": _MANY_BYTES if wait_ms else 1,
            "fetch.wait.max.ms": wait_ms or _LONG_POLL_MS,
            # What a fetch that failed is followed by, 1 s by default: a restart of the broker takes no longer.
            "fetch.error.backoff.ms": 100,
            # A group's first join takes about half of this on brokers that wait for members.
            "session.timeout.ms": 6000,
            "enable.auto.commit": False,
            # 64 MB of prefetched events a partition is more memory than the flow's state.
            "queued.max.messages.kbytes": 16_384,
        }
        | settings.consumer
    )


def check_broker(settings: KafkaSettings, *, timeout_s: float) -> int:
    """Return how many brokers answer, or raise ConnectionError: consumers alone would wait for ever, and say nothing."""
    try:
        # The configuration is held in a name: an AdminClient that is collected early answers with _DESTROY.
        admin = AdminClient(client_config(settings) | {"log_level": 0})
        return len(admin.list_topics(timeout=timeout_s).brokers)
    except KafkaException as error:
        raise ConnectionError(f"no Kafka broker at {settings.bootstrap_servers} within {timeout_s:g} s: {error}") from error


def cluster_id(settings: KafkaSettings, *, timeout_s: float = 15.0) -> str:
    """Return the id that the Kafka cluster gave itself, as a file name."""
    admin = AdminClient(client_config(settings))
    named = admin.list_topics(timeout=timeout_s).cluster_id or "unnamed"
    return re.sub(r"[^\w.-]", "_", named)


def create_topics(settings: KafkaSettings, topics: Sequence[Topic] = TOPICS, *, timeout_s: float = 15.0) -> list[str]:
    """Create the topics that do not exist yet and return their names.

    Raises:
        ValueError: a topic exists with fewer partitions than it should have, as an auto-created one does: keyed state
            would be split differently from what was configured.
    """
    admin = AdminClient(client_config(settings))
    existing = admin.list_topics(timeout=timeout_s).topics
    for topic in topics:
        wanted = partitions_of(settings, topic)
        if topic.name in existing and len(existing[topic.name].partitions) < wanted:
            raise ValueError(
                f"topic {topic.name} has {len(existing[topic.name].partitions)} partitions, {wanted} are configured: "
                f"add partitions with your broker's tool, or set kafka.partitions.{topic.name}"
            )
    new = [
        NewTopic(
            topic.name,
            num_partitions=partitions_of(settings, topic),
            replication_factor=settings.replication_factor,
            config=topic.config(),
        )
        for topic in topics
        if topic.name not in existing
    ]
    created = []
    for name, future in (admin.create_topics(new, operation_timeout=timeout_s) if new else {}).items():
        try:
            future.result(timeout_s)
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return created


def trace_headers(trace: str | None) -> Headers:
    """Return the Kafka headers that carry `trace` (a traceparent) onwards."""
    return [] if trace is None else [("traceparent", trace.encode())]


def trace_of(headers: Any) -> str | None:
    """Return the traceparent in an event's headers, pairs of a name and bytes, if it has one that is well formed."""
    for name, value in headers or ():
        if name == "traceparent" and value is not None:
            given = str(value, "ascii", "replace")
            return given if parse(given) else None
    return None


class NotAccepted(Exception):
    """The broker did not take these events: the queue is full, or no answer came in time. Come again later."""


class ProducerFailed(NotAccepted):
    """The producer has come to an end, and takes nothing any more: only a new process has a new one."""


class EventProducer:
    """Publishes events and tells when the broker has them. Safe to use from several threads; close it when done.

    A `patient` one never gives up on an event: for flows, whose input waits in Kafka as long as their output does.
    """

    def __init__(self, settings: KafkaSettings, *, patient: bool = False) -> None:
        own: dict[str, Any] = {"error_cb": self._erred} | ({"delivery.timeout.ms": 0} if patient else {})
        self._producer = Producer(producer_config(settings) | own)
        self.failure: str | None = None
        self._closing = threading.Event()
        self.undelivered = self.oversized = 0
        self._poller = threading.Thread(target=self._poll, name="producer-poll", daemon=True)
        self._poller.start()

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(0.1)

    async def publish(self, topic: Topic, events: Sequence[Event], *, trace: str | None = None) -> None:
        """Return when the broker has all `events`.

        Raises:
            NotAccepted: one or more were not taken; the others were. Sending all again is safe, by their event_id.
        """
        answers = _Answers(len(events))
        for event in events:
            try:
                self.send(topic, event, trace=trace, on_delivery=answers.delivered)
            except NotAccepted as error:
                answers.settle(str(error))
        if events:
            await answers.all

    def send(self, topic: Topic, event: Event, *, trace: str | None = None, on_delivery: Any = None) -> None:
        """Queue one event; `on_delivery(error, message)` is called from another thread.

        Raises:
            NotAccepted: the queue is full.
            ProducerFailed: it takes nothing any more.
        """
        self._produce(topic, getattr(event, topic.key), encode(event), trace_headers(trace), on_delivery or self._count_failure)

    def tombstone(self, topic: Topic, key: str) -> None:
        """Queue the end of `key` in a compacted topic."""
        self._produce(topic, key, None, [], self._count_failure)

    def _produce(self, topic: Topic, key: str, value: bytes | None, headers: Headers, on_delivery: Any) -> None:
        try:
            self._producer.produce(topic.name, value, key=key, headers=headers, on_delivery=on_delivery)
        except BufferError as error:
            raise NotAccepted(f"{len(self._producer)} events wait for the broker already") from error
        except KafkaException as error:
            if error.args[0].fatal() or self.failure:
                raise ProducerFailed(f"the producer has failed for good: {self.failure or error}") from error
            if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise
            # It can never be sent: a flow that tried it again would stand still for ever.
            self.oversized += 1
            log.error("%s: dropped an event of %d bytes, more than the broker takes", topic.name, len(value or b""))
            if on_delivery != self._count_failure:
                on_delivery(error.args[0], None)

    def _erred(self, error: KafkaError) -> None:
        # The others are told to those who wait for an answer, and end by themselves.
        if error.fatal() or error.code() == KafkaError._FATAL:
            self.failure = error.str()
            log.critical("the producer has failed for good: %s", error.str())

    def _count_failure(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self.undelivered += 1
            log.error("%s: an event was not delivered: %s", message.topic(), error.str())

    def __len__(self) -> int:
        """Return how many events wait for the broker."""
        return len(self._producer)

    def flush(self, timeout_s: float) -> int:
        """Wait until the broker has what was queued; return how many it does not have when time is up."""
        return int(self._producer.flush(timeout_s))

    def close(self, timeout_s: float = 10.0) -> int:
        """Flush, stop polling, and return how many events the broker did not take."""
        left = self.flush(timeout_s)
        self._closing.set()
        self._poller.join(1.0)
        return left


class _Answers:
    """Counts the broker's answers to one call of `publish`, in the polling thread, and wakes the caller once, at the last."""

    def __init__(self, expected: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.all: asyncio.Future[None] = self._loop.create_future()
        self._lock = threading.Lock()
        self._pending = expected
        self._failure: str | None = None

    def delivered(self, error: KafkaError | None, _message: Any) -> None:
        self.settle(None if error is None else error.str())

    def settle(self, reason: str | None) -> None:
        with self._lock:
            self._pending -= 1
            self._failure = self._failure or reason
            last = self._pending == 0
        if last:
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                log.debug("the event loop closed before the broker's answer came")

    def _wake(self) -> None:
        if not self.all.done():
            self.all.set_result(None) if self._failure is None else self.all.set_exception(NotAccepted(self._failure))
