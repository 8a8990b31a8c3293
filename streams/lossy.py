"""A producer for what may be lost: heartbeats and traces tell of the loop, and must never hold it up."""

from contextlib import suppress
from typing import Any

from confluent_kafka import Producer

from streams.codec import encode
from streams.events import Event
from streams.kafka import KafkaSettings, producer_config
from streams.topics import Topic

# Seconds of news at most wait for a broker that is away: what is older tells nothing of now.
_SETTINGS: dict[str, Any] = {
    "enable.idempotence": False,
    "acks": "1",
    "linger.ms": 5,
    "delivery.timeout.ms": 5_000,
    "queue.buffering.max.messages": 10_000,
    # An event without a topic would be retried for half a minute.
    "topic.metadata.propagation.max.ms": 1_000,
    "delivery.report.only.error": True,
    # The flow's own producer tells of a broker that is away.
    "log_level": 0,
}


class LossyProducer:
    """Sends events at most once and waits for nobody. Safe to use from several threads.

    A producer of its own: behind a patient one these events would wait for ever, and a flow's snapshot with them.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._producer = Producer(producer_config(settings) | _SETTINGS)

    def send(self, topic: Topic, event: Event) -> None:
        """Send one event, or drop it where there is no room."""
        with suppress(BufferError):
            self._producer.produce(topic.name, encode(event), key=getattr(event, topic.key))
        self._producer.poll(0)

    def close(self) -> None:
        """Give what was sent last a moment to go out."""
        self._producer.flush(0.5)
