"""Kafka at both ends of a flow: events in, decoded and checked; events out, acknowledged before a snapshot is taken."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeGuard, cast

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaError, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from msgspec import Struct

from streams.codec import BadEvent, check_key, check_time, decode
from streams.events import DeadLetter, Event
from streams.flows.scrub import FORGOTTEN
from streams.flows.stopping import STOPPING
from streams.heartbeat import Pulse
from streams.kafka import EventProducer, KafkaSettings, NotAccepted, ProducerFailed, check_broker, consumer_config, trace_of
from streams.topics import DEAD_LETTERS, FROM_PRODUCERS, PURGES, Topic

log = logging.getLogger(__name__)

# More partitions of a sink than this share no more work: they all feed one producer.
SINK_PARTS = 4


class Received(Struct, frozen=True, gc=False):
    """An event as it came in: where from, when the broker got it (Unix ms), and its trace context."""

    event: Any
    partition: int
    offset: int
    received_at: int
    trace: str | None


class Send(Struct, frozen=True, gc=False):
    """An event on its way out; `event` None is a tombstone for `key`."""

    topic: Topic
    key: str
    event: Event | None
    trace: str | None = None


_letters: Counter[str] = Counter()

Message: TypeAlias = KafkaSourceMessage[bytes | None, bytes | None] | KafkaError[bytes | None, bytes | None]
Keyed: TypeAlias = tuple[str, Received]


def events_of(
    flow: Dataflow, kafka: KafkaSettings, topic: Topic, pulse: Pulse, *, wait_ms: int = 0
) -> tuple[Stream[Keyed], Stream[tuple[str, Send]]]:
    """Read `topic` from the beginning, or from where recovery left it.

    `wait_ms` is how long an event may wait for others to be read with it. Returns its events by key, and its dead letters ready
    for `publish`: bad input never stops the flow.
    """
    check_broker(kafka, timeout_s=15.0)
    source = StoppableSource(
        pulse,
        brokers=[kafka.bootstrap_servers],
        topics=[topic.name],
        # Bytewax makes a client for administration of the same settings, which warns of each that is a consumer's.
        add_config={name: str(value) for name, value in consumer_config(kafka, wait_ms=wait_ms).items()} | {"log_level": "3"},
        batch_size=1000,
        # A broker that is away for a second must not end the flow: librdkafka reconnects by itself.
        raise_on_errors=False,
    )
    messages = op.input(f"{topic.name}-in", flow, source)
    decoded = op.flat_map_batch(f"{topic.name}-decode", messages, decoder(topic, flow.flow_id))
    branches = op.branch(f"{topic.name}-good", decoded, _is_received)
    return branches.trues, cast(Stream[tuple[str, Send]], branches.falses)


class _StoppablePartition(StatefulSourcePartition[Message, int | None]):
    def __init__(self, partition: StatefulSourcePartition[Message, int | None], pulse: Pulse, topic: str, number: int) -> None:
        self._partition = partition
        self._pulse, self._topic, self._number = pulse, topic, number
        # Before the first event, too, there is a place from which the flow goes on. A negative one is Kafka's "beginning".
        pulse.took(topic, number, events=0, next_offset=max(0, partition.snapshot() or 0))

    def next_batch(self) -> Iterable[Message]:
        if STOPPING.is_set():
            raise StopIteration
        batch = list(self._partition.next_batch())
        last = next((message for message in reversed(batch) if isinstance(message, KafkaSourceMessage)), None)
        if last is not None and last.offset is not None:
            self._pulse.took(self._topic, self._number, events=len(batch), next_offset=last.offset + 1)
        return batch

    def snapshot(self) -> int | None:
        return self._partition.snapshot()

    def close(self) -> None:
        self._partition.close()


class StoppableSource(KafkaSource):
    """Kafka's source, which ends as if the topic did when the process is told to stop: what it read is worked off."""

    def __init__(self, pulse: Pulse, **source: Any) -> None:
        super().__init__(**source)
        self._pulse = pulse

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Any:
        number, topic = for_part.split("-", 1)
        return _StoppablePartition(super().build_part(step_id, for_part, resume_state), self._pulse, topic, int(number))


def _is_received(item: tuple[str, Received | Send]) -> TypeGuard[Keyed]:
    return type(item[1]) is Received


def decoder(topic: Topic, flow: str) -> Callable[[list[Message]], list[tuple[str, Received | Send]]]:
    """Return what turns a batch of messages of `topic` into (key, Received) pairs, or (key, dead letter) where it can't."""
    checked = topic in FROM_PRODUCERS
    key_field = topic.key

    def decode_batch(messages: list[Message]) -> list[tuple[str, Received | Send]]:
        out: list[tuple[str, Received | Send]] = []
        for message in messages:
            if isinstance(message, KafkaError):
                log.warning("%s: %s", topic.name, message.err.str())
                continue
            received_at = message.timestamp[1] if message.timestamp else 0
            try:
                event: Any = decode(topic, message.value)
                check_key(topic, event, message.key)
                if checked:
                    check_time(event, received_at=received_at)
                received = Received(event, message.partition or 0, message.offset or 0, received_at, trace_of(message.headers))
                out.append((getattr(event, key_field), received))
            except BadEvent as bad:
                trace = trace_of(message.headers)
                letter = dead_letter(
                    topic, message.partition, message.offset, str(bad), message.value, message.key, flow, received_at, trace
                )
                out.append((letter.key, letter))
        return out

    return decode_batch


def dead_letter(
    topic: Topic,
    partition: int | None,
    offset: int | None,
    reason: str,
    payload: bytes | None,
    key: bytes | None,
    flow: str,
    failed_at: int,
    trace: str | None = None,
) -> Send:
    """Return a dead letter, ready for `publish`, for the input at `partition` and `offset` of `topic`."""
    _letters[topic.name] += 1
    # The first, the second, the fourth … and then each thousandth: all are in their topic, and a flood of them must not fill
    # the disk with its log.
    if _letters[topic.name].bit_count() == 1 or _letters[topic.name] % 1000 == 0:
        said = reason[:500]
        log.warning("dead letter %d from %s[%s]@%s: %s", _letters[topic.name], topic.name, partition, offset, said)
    event = DeadLetter(
        origin=topic.name,
        partition=partition or 0,
        offset=offset or 0,
        reason=reason[:2000],
        payload=(payload or b"")[:600_000],
        failed_at=failed_at,
        flow=flow,
        key=None if key is None else key[:1000],
    )
    return Send(DEAD_LETTERS, event.letter_id, event, trace)


class _Partition(StatefulSinkPartition[Send, None]):
    def __init__(self, producer: EventProducer, pulse: Pulse) -> None:
        self._producer = producer
        self._pulse = pulse

    def write_batch(self, values: list[Send]) -> None:
        for value in values:
            self._send(value)

    def _send(self, value: Send) -> None:
        while True:
            try:
                if value.topic is PURGES:
                    # A proof is given once the broker has what it proves, and then what it proves goes from the snapshots.
                    self._producer.flush(5.0)
                    FORGOTTEN.set()
                if value.event is None:
                    self._producer.tombstone(value.topic, value.key)
                else:
                    self._producer.send(value.topic, value.event, trace=value.trace)
                if value.topic is DEAD_LETTERS:
                    self._pulse.count("dead_letters")
                return
            except ProducerFailed:
                raise
            except NotAccepted:
                # The flow waits with its input still in Kafka: the back-pressure that loses nothing.
                time.sleep(0.05)

    def snapshot(self) -> None:
        """Hold the snapshot back until the broker has all that led to it."""
        while left := self._producer.flush(5.0):
            log.warning("%d events wait for the broker; the flow waits too", left)
        if self._producer.undelivered:
            # Without a snapshot the flow reads their input again, once what the broker refused them for is put right.
            raise RuntimeError(f"the broker refused {self._producer.undelivered} events; the log says why")

    def close(self) -> None:
        self._producer.flush(5.0)


class EventSink(FixedPartitionedSink[Send, None]):
    """Publishes events: at least once, since a snapshot waits for the broker's answers to all that came before it."""

    def __init__(self, producer: EventProducer, pulse: Pulse) -> None:
        self._producer = producer
        self._pulse = pulse

    def list_parts(self) -> list[str]:
        return [str(part) for part in range(SINK_PARTS)]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _Partition:
        return _Partition(self._producer, self._pulse)


def publish(flow_step: str, streams: Iterable[Stream[tuple[str, Send]]], producer: EventProducer, pulse: Pulse) -> None:
    """End the flow's streams of `Send` in Kafka."""
    op.output(flow_step, op.merge(f"{flow_step}-all", *streams), EventSink(producer, pulse))
