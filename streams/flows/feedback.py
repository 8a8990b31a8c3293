"""feedback: what became of each page that was served.

slates and interactions → by viewer: joined by request, closed by a window, rewarded → `feedback` and a Parquet log
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.operators import KeyedStream, StatefulBatchLogic

from streams.clock import Clock, now_ms
from streams.events import Erasure, Feedback, Interaction, Slate
from streams.flows.feature_io import Forget
from streams.flows.feedback_log import FeedbackLog, write_log
from streams.flows.kafka_io import Keyed, Received, Send, events_of, publish
from streams.flows.reading import Reading
from streams.flows.scrub import FORGOTTEN
from streams.flows.split import split
from streams.heartbeat import Pulse
from streams.kafka import EventProducer, KafkaSettings
from streams.settings import FlowSettings
from streams.state.attribution import Attribution
from streams.state.snapshot import dump, load
from streams.topics import FEEDBACK, INTERACTIONS, SLATES, Topic

# Windows close after a minute: nobody waits for this flow.
WAIT_MS = 250
# How often a window that is over looks whether all that fell into it was read.
LOOK_EVERY_MS = 500

FromViewer: TypeAlias = Feedback | Forget


class FeedbackLogic(StatefulBatchLogic[Received, FromViewer, bytes]):
    """One viewer's open pages in the flow."""

    def __init__(
        self,
        snapshot: bytes | None,
        settings: FlowSettings,
        clock: Clock,
        *,
        read_until: Clock | None = None,
        closes_from: int = 0,
    ) -> None:
        self.state = Attribution() if snapshot is None else load(Attribution, snapshot)
        self._settings = settings
        self._clock = clock
        self._read_until = read_until or clock
        self._closes_from = closes_from
        self.state.not_after(clock())

    def on_batch(self, values: list[Received]) -> tuple[Iterable[FromViewer], bool]:
        out: list[FromViewer] = []
        for value in values:
            # When the broker got it: after an outage the flow is late, and the viewer was not.
            at = value.received_at
            match value.event:
                case Slate() as slate:
                    self.state.on_slate(slate, at, self._settings)
                case Interaction() as interaction:
                    self.state.on_interaction(interaction, at, self._settings)
                case Erasure() as erasure:
                    out.append(_forget(erasure, len(self.state.slates)))
                    self.state = Attribution.forgotten(erasure.occurred_at, at, self._settings)
        return out + self._close(), self.state.is_empty()

    def on_notify(self) -> tuple[Iterable[FromViewer], bool]:
        forgotten = bool(self.state.erased_until)
        out = self._close()
        if forgotten and self.state.is_empty():
            # The name of who was forgotten is the last thing that goes.
            FORGOTTEN.set()
        return out, self.state.is_empty()

    def _close(self) -> list[FromViewer]:
        if self._clock() < self._closes_from:
            return []
        return list(self.state.close(self._read_until(), self._settings))

    def notify_at(self) -> datetime | None:
        at = self.state.next_close(self._settings)
        if at is None:
            return None
        if self._read_until() < at <= self._clock():
            # Over, but not read to its end: a look at once would find the same.
            at = self._clock() + LOOK_EVERY_MS
        return datetime.fromtimestamp(max(at, self._closes_from) / 1000, UTC)

    def snapshot(self) -> bytes:
        return dump(self.state)


def _forget(erasure: Erasure, open_slates: int) -> Forget:
    return Forget(erasure.event_id, "user", erasure.user_id, lambda: {"flow state: feedback": open_slates})


def graph(
    events: Stream[Keyed], settings: FlowSettings, *, clock: Clock = now_ms, read_until: Clock | None = None
) -> KeyedStream[FromViewer]:
    """Return the feedback, and the viewers to forget, that come of slates and interactions.

    `read_until` is the time before which all events were read: windows close by it, and by `clock` without it.
    """
    closes_from = clock() + int(settings.feedback_grace_s * 1000)
    return op.stateful_batch(
        "viewer",
        events,
        lambda snapshot: FeedbackLogic(snapshot, settings, clock, read_until=read_until, closes_from=closes_from),
    )


def noted(events: Stream[Keyed], topic: Topic, reading: Reading) -> Stream[Keyed]:
    """Return `events`, of each batch of which `reading` takes note."""

    def note(batch: list[Keyed]) -> list[Keyed]:
        for partition, received_at in {received.partition: received.received_at for _, received in batch}.items():
            reading.took(topic.name, partition, received_at)
        return batch

    return op.flat_map_batch(f"{topic.name}-read", events, note)


def build(kafka: KafkaSettings, settings: FlowSettings, *, producer: EventProducer, pulse: Pulse) -> Dataflow:
    """Return the dataflow."""
    flow = Dataflow("feedback")
    # One bad event is one dead letter: profile makes those of interactions.
    interactions, _ = events_of(flow, kafka, INTERACTIONS, pulse, wait_ms=WAIT_MS)
    slates, dead_letters = events_of(flow, kafka, SLATES, pulse, wait_ms=WAIT_MS)
    reading = Reading()
    events = op.merge("all", noted(interactions, INTERACTIONS, reading), noted(slates, SLATES, reading))
    by_viewer = graph(events, settings, read_until=reading.until)
    feedback, _ = split("feedback", op.key_rm("of-viewer", by_viewer), Feedback)
    sends = op.map("to-topic", feedback, lambda made: (made.user_id, Send(FEEDBACK, made.user_id, made)))
    publish("publish", [sends, dead_letters], producer, pulse)
    log = FeedbackLog(Path(settings.feedback_log))
    write_log(op.key_rm("to-disk", by_viewer), log, producer, file_ms=int(settings.feedback_file_s * 1000))
    return flow
