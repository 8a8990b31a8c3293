"""Features at the end of a flow: rows written in batches, and erasures carried out in their place among them."""

import time
from collections.abc import Callable
from typing import TypeAlias

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from msgspec import Struct

from streams.clock import now_ms
from streams.events import Purged
from streams.features import FeatureRow
from streams.flows.kafka_io import Received
from streams.flows.scrub import FORGOTTEN
from streams.heartbeat import Pulse
from streams.kafka import EventProducer
from streams.ports import Features
from streams.topics import PURGES


class Forget(Struct, frozen=True):
    """Let go of a viewer ("user") or a video, and prove it. `purge` returns how much went, by store."""

    cause: str
    subject: str
    subject_id: str
    purge: Callable[[], dict[str, int]]


class Readable(Struct, frozen=True):
    """Follows the rows of one viewer or video: once they are written, these events can be read from the features.

    `then`, where there is one, is called at that moment.
    """

    events: list[Received]
    then: Callable[[], None] | None = None


FeatureItem: TypeAlias = FeatureRow | Forget | Readable


class _Partition(StatelessSinkPartition[FeatureItem]):
    def __init__(self, features: Features | None, purges: EventProducer, pulse: Pulse) -> None:
        self._features = features
        self._purges = purges
        self._pulse = pulse

    def write_batch(self, items: list[FeatureItem]) -> None:
        rows: list[FeatureRow] = []
        written: list[Received] = []
        waiting: list[Callable[[], None]] = []
        for item in items:
            if isinstance(item, Readable):
                written += item.events
                if item.then is not None:
                    waiting.append(item.then)
            elif isinstance(item, Forget):
                # In order: a row of this viewer that came before must not be written after the erasure.
                self._write(rows)
                rows = []
                prove(item, self._purges)
            else:
                rows.append(item)
        self._write(rows)
        if written:
            now = now_ms()
            self._pulse.readable([now - event.received_at for event in written])
        for then in waiting:
            then()

    def _write(self, rows: list[FeatureRow]) -> None:
        if rows and self._features is not None:
            self._features.write(rows)


class FeatureSink(DynamicSink[FeatureItem]):
    """Writes feature rows as they come and carries out what is to be forgotten; both may be done twice without harm."""

    def __init__(self, features: Features | None, purges: EventProducer, pulse: Pulse) -> None:
        self._features = features
        self._purges = purges
        self._pulse = pulse

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Partition:
        return _Partition(self._features, self._purges, self._pulse)


def prove(forget: Forget, purges: EventProducer) -> None:
    """Carry out `forget` and publish one proof for each store that let go; what only expired has none to give."""
    purged = forget.purge()
    if not purged:
        return
    for store, count in purged.items():
        proof = Purged(
            cause=forget.cause,
            subject="user" if forget.subject == "user" else "video",
            subject_id=forget.subject_id,
            store=store,
            count=count,
            purged_at=int(time.time() * 1000),
        )
        purges.send(PURGES, proof)
    purges.flush(5.0)
    FORGOTTEN.set()


def write_features(
    step: str, rows: Stream[FeatureItem], features: Features | None, purges: EventProducer, pulse: Pulse
) -> None:
    """End the flow's feature rows in the feature store; without one, only what is to be forgotten is carried out."""
    op.output(step, rows, FeatureSink(features, purges, pulse))
