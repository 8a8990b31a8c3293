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
from streams.flows.feedback_log import FeedbackLog, FeedbackLogSink
from streams.flows.kafka_io import Keyed, Received, Send, events_of, publish
from streams.flows.split import split
from streams.kafka import EventProducer, KafkaSettings
from streams.settings import FlowSettings
from streams.state.attribution import Attribution
from streams.state.snapshot import dump, load
from streams.topics import FEEDBACK, INTERACTIONS, SLATES

# Windows close after a minute: nobody waits for this flow.
WAIT_MS = 250

FromViewer: TypeAlias = Feedback | Forget


class FeedbackLogic(StatefulBatchLogic[Received, FromViewer, bytes]):
    """One viewer's open pages in the flow."""

    def __init__(self, snapshot: bytes | None, settings: FlowSettings, clock: Clock, closes_from: int = 0) -> None:
        self.state = Attribution() if snapshot is None else load(Attribution, snapshot)
        self._settings = settings
        self._clock = clock
        self._closes_from = closes_from

    def on_batch(self, values: list[Received]) -> tuple[Iterable[FromViewer], bool]:
        out: list[FromViewer] = []
        for value in values:
            # When the broker got it: after an outage the flow is late, and the viewer was not.
            at = value.received_at
            match value.event:
                case Slate() as slate:
                    self.state.on_slate(slate, at)
                case Interaction() as interaction:
                    self.state.on_interaction(interaction, at)
                case Erasure() as erasure:
                    out.append(_forget(erasure, len(self.state.slates)))
                    self.state = Attribution()
        return out + self._close(self._clock()), self.state.is_empty()

    def on_notify(self) -> tuple[Iterable[FromViewer], bool]:
        return self._close(self._clock()), self.state.is_empty()

    def _close(self, now: int) -> list[FromViewer]:
        if now < self._closes_from:
            return []
        return list(self.state.close(now, self._settings))

    def notify_at(self) -> datetime | None:
        at = self.state.next_close(self._settings)
        return None if at is None else datetime.fromtimestamp(max(at, self._closes_from) / 1000, UTC)

    def snapshot(self) -> bytes:
        return dump(self.state)


def _forget(erasure: Erasure, open_slates: int) -> Forget:
    return Forget(erasure.event_id, "user", erasure.user_id, lambda: {"flow state: feedback": open_slates})


def graph(events: Stream[Keyed], settings: FlowSettings, *, clock: Clock = now_ms) -> KeyedStream[FromViewer]:
    """Return the feedback, and the viewers to forget, that come of slates and interactions."""
    closes_from = clock() + int(settings.feedback_grace_s * 1000)
    return op.stateful_batch("viewer", events, lambda snapshot: FeedbackLogic(snapshot, settings, clock, closes_from))


def build(kafka: KafkaSettings, settings: FlowSettings, *, producer: EventProducer) -> Dataflow:
    """Return the dataflow."""
    flow = Dataflow("feedback")
    # One bad event is one dead letter: profile makes those of interactions.
    interactions, _ = events_of(flow, kafka, INTERACTIONS, wait_ms=WAIT_MS)
    slates, dead_letters = events_of(flow, kafka, SLATES, wait_ms=WAIT_MS)
    by_viewer = graph(op.merge("all", interactions, slates), settings)
    feedback, _ = split("feedback", op.key_rm("of-viewer", by_viewer), Feedback)
    sends = op.map("to-topic", feedback, lambda made: (made.user_id, Send(FEEDBACK, made.user_id, made)))
    publish("publish", [sends, dead_letters], producer)
    op.output("log", by_viewer, FeedbackLogSink(FeedbackLog(Path(settings.feedback_log)), producer))
    return flow
