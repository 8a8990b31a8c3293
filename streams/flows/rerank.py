"""rerank: when a viewer deserves it, the pool of the last page is ranked anew, off the request path, into a plan.

interactions, instructions, slates → by viewer: triggers, rate limits → the ranker → `plans`
"""

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TypeAlias

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.operators import StatefulBatchLogic
from msgspec import Struct

from streams.clock import Clock, now_ms
from streams.events import Erasure, Instruction, Interaction, Plan, Slate
from streams.features import ViewerFeatures
from streams.flows.feature_io import FeatureItem, Forget, write_features
from streams.flows.kafka_io import Keyed, Received, Send, events_of, publish
from streams.flows.split import split
from streams.kafka import EventProducer, KafkaSettings
from streams.ports import PerceptionUnavailable, PlanRequest, Ranker, Videos, ViewerSource
from streams.settings import FlowSettings
from streams.state.snapshot import dump, load
from streams.state.triggers import Triggers
from streams.topics import INTERACTIONS, PLANS, SLATES

log = logging.getLogger(__name__)

# An instruction is to be obeyed within a second: this is little of it, and spares the broker most polls.
WAIT_MS = 50
# How long an instruction whose words could not be embedded waits for the next try.
RETRY_MS = 500

Budget: TypeAlias = Callable[[], bool]


class Asked(Struct, frozen=True):
    """A plan request on its way to the ranker, with the trace of what caused it."""

    request: PlanRequest
    trace: str | None


FromViewer: TypeAlias = Asked | Forget


class RerankState(Struct):
    """What recovery brings back: the triggers, and an instruction whose words are not embedded yet."""

    user_id: str
    triggers: Triggers
    unheard: Instruction | None = None
    trace: str | None = None


class RerankLogic(StatefulBatchLogic[Received, FromViewer, bytes]):
    """One viewer's triggers in the flow."""

    def __init__(
        self, snapshot: bytes | None, videos: Videos, ranker: Ranker, settings: FlowSettings, budget: Budget, clock: Clock
    ) -> None:
        self.state = RerankState("", Triggers()) if snapshot is None else load(RerankState, snapshot)
        self._videos = videos
        self._ranker = ranker
        self._settings = settings
        self._budget = budget
        self._clock = clock
        self._retry_at: int | None = None

    def on_batch(self, values: list[Received]) -> tuple[Iterable[FromViewer], bool]:
        out: list[FromViewer] = []
        for value in values:
            state = self.state
            state.user_id = value.event.user_id
            state.trace = value.trace or state.trace
            match value.event:
                case Interaction() as interaction:
                    state.triggers.on_interaction(interaction, self._videos.get(interaction.video_id))
                case Instruction() as instruction:
                    state.unheard = instruction
                case Slate() as slate:
                    state.triggers.on_slate(slate)
                case Erasure() as erasure:
                    out.append(Forget(erasure.event_id, "user", erasure.user_id, lambda: {"flow state: rerank": 1}))
                    self.state = RerankState("", Triggers())
        out += self._plan()
        return out, not self.state.user_id

    def on_notify(self) -> tuple[Iterable[FromViewer], bool]:
        return self._plan(), StatefulBatchLogic.RETAIN

    def _plan(self) -> list[FromViewer]:
        self._retry_at = None
        now = self._clock()
        self._listen(now)
        triggers = self.state.triggers
        if not triggers.due or not triggers.has_something(now):
            return []
        # An instruction is somebody waiting: it takes from the budget, and is never refused by it.
        if (wait_until := triggers.allowed_at(self._settings)) > now or not (self._budget() or triggers.due == "instruction"):
            self._retry_at = max(wait_until, now + RETRY_MS)
            return []
        request = triggers.request(self.state.user_id, now)
        return [] if request is None else [Asked(request, self.state.trace)]

    def _listen(self, now: int) -> None:
        """Turn a pending instruction into wishes; where the encoder is away it waits, and is tried again."""
        instruction = self.state.unheard
        if instruction is None:
            return
        try:
            steering = self._ranker.steer([instruction.text])[0]
        except PerceptionUnavailable as error:
            log.warning("instruction %s waits: %s", instruction.event_id, error)
            self._retry_at = now + RETRY_MS
            return
        self.state.unheard = None
        ttl_ms = int(self._settings.instruction_ttl_s * 1000)
        self.state.triggers.on_instruction(instruction, steering, ttl_ms=ttl_ms)

    def notify_at(self) -> datetime | None:
        if self._retry_at is None and self.state.unheard is None:
            return None
        return datetime.fromtimestamp((self._retry_at or self._clock()) / 1000, UTC)

    def snapshot(self) -> bytes:
        return dump(self.state)


def planner(ranker: Ranker, viewers: ViewerSource, settings: FlowSettings, clock: Clock) -> Callable[[Asked], tuple[str, Send]]:
    """Return what makes a plan of a request. A viewer whose features can't be read is ranked for by the wishes alone."""

    def plan(asked: Asked) -> tuple[str, Send]:
        request = asked.request
        try:
            viewer = viewers.viewer(request.user_id)
        except (ConnectionError, TimeoutError) as error:
            log.warning("viewer %s: features can't be read: %s", request.user_id, error)
            viewer = ViewerFeatures(user_id=request.user_id)
        ranking = ranker.rank(request, viewer)
        now = clock()
        expires_at = request.steering_until or now + int(settings.plan_ttl_s * 1000)
        made = Plan(
            user_id=request.user_id,
            trigger=request.trigger,
            created_at=now,
            expires_at=expires_at,
            ranking=ranking,
            steering=request.steering,
            policy_version=ranker.policy_version,
        )
        return request.user_id, Send(PLANS, request.user_id, made, asked.trace)

    return plan


def graph(
    events: Stream[Keyed],
    settings: FlowSettings,
    *,
    videos: Videos,
    ranker: Ranker,
    viewers: ViewerSource,
    budget: Budget,
    clock: Clock = now_ms,
) -> tuple[Stream[tuple[str, Send]], Stream[FeatureItem]]:
    """Return the plans, and the viewers to forget, that come of interactions, instructions and slates."""
    by_viewer = op.stateful_batch(
        "viewer", events, lambda snapshot: RerankLogic(snapshot, videos, ranker, settings, budget, clock)
    )
    asked, forgets = split("asked", op.key_rm("of-viewer", by_viewer), Asked)
    return op.map("rank", asked, planner(ranker, viewers, settings, clock)), forgets


def build(
    kafka: KafkaSettings,
    settings: FlowSettings,
    *,
    videos: Videos,
    ranker: Ranker,
    viewers: ViewerSource,
    producer: EventProducer,
    budget: Budget,
) -> Dataflow:
    """Return the dataflow. `budget` says, when asked, whether one more plan may be made now over all viewers."""
    flow = Dataflow("rerank")
    # One bad event is one dead letter: profile makes those of interactions, feedback those of slates.
    interactions, _ = events_of(flow, kafka, INTERACTIONS, wait_ms=WAIT_MS)
    slates, _ = events_of(flow, kafka, SLATES, wait_ms=WAIT_MS)
    events = op.merge("all", interactions, slates)
    plans, forgets = graph(events, settings, videos=videos, ranker=ranker, viewers=viewers, budget=budget)
    write_features("forget", forgets, None, producer)
    publish("publish", [plans], producer)
    return flow
