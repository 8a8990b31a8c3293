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
from streams.events import Erasure, Instruction, Interaction, Plan, Purged, Slate
from streams.features import ViewerFeatures
from streams.flows.kafka_io import Keyed, Received, Send, events_of, publish
from streams.flows.scrub import FORGOTTEN
from streams.heartbeat import Pulse
from streams.kafka import EventProducer, KafkaSettings
from streams.ports import PerceptionUnavailable, PlanRequest, Ranker, Videos, ViewerSource
from streams.settings import FlowSettings
from streams.state.snapshot import dump, load
from streams.state.triggers import Triggers
from streams.topics import INTERACTIONS, PLANS, PURGES, SLATES
from streams.trace_context import is_sampled
from streams.tracing import UNTRACED, Tracer, precise_now

log = logging.getLogger(__name__)

# An instruction is to be obeyed within a second: this is little of it, and spares this flow most wake-ups.
WAIT_MS = 50
# How long an instruction whose words could not be embedded waits for the next try.
RETRY_MS = 500

Budget: TypeAlias = Callable[[], bool]


class Asked(Struct, frozen=True):
    """A plan request on its way to the ranker, with the trace of what caused it, taken from Kafka at `taken_at` (Unix ms)."""

    request: PlanRequest
    trace: str | None
    taken_at: float = 0.0


FromViewer: TypeAlias = Asked | Send


class RerankState(Struct):
    """What recovery brings back: the triggers, and an instruction whose words are not embedded yet."""

    user_id: str
    triggers: Triggers
    unheard: Instruction | None = None
    trace: str | None = None
    planned: bool = False
    erased_at: int = 0
    erased_until: int = 0


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
        self.state.triggers.not_after(clock())

    def on_batch(self, values: list[Received]) -> tuple[Iterable[FromViewer], bool]:
        taken_at = precise_now()
        out: list[FromViewer] = []
        for value in values:
            state = self.state
            if isinstance(value.event, Slate) and value.event.served_at <= state.erased_at:
                # Served before the erasure and read after it: what it was made for is forgotten.
                continue
            state.user_id = value.event.user_id
            # A plan is told of in the trace of a tap, if one of those that led to it is traced.
            if is_sampled(value.trace) or not is_sampled(state.trace):
                state.trace = value.trace or state.trace
            match value.event:
                case Interaction() as interaction:
                    state.triggers.on_interaction(interaction, self._videos.get(interaction.video_id))
                case Instruction() as instruction:
                    state.unheard = instruction
                case Slate() as slate:
                    state.triggers.on_slate(slate)
                case Erasure() as erasure:
                    out += self._forget(erasure)
        if self.state.user_id:
            out += self._plan(taken_at)
        return out, self._is_over()

    def on_notify(self) -> tuple[Iterable[FromViewer], bool]:
        out = self._plan(precise_now()) if self.state.user_id else []
        return out, self._is_over()

    def _forget(self, erasure: Erasure) -> list[FromViewer]:
        before, now = self.state, self._clock()
        user_id = erasure.user_id
        known = bool(before.triggers.ids.seen or before.triggers.pool or before.unheard)
        # As long as a slate may be on its way here from before, as `feedback` knows it.
        until = now + int(self._settings.feedback_max_s * 1000)
        self.state = RerankState("", Triggers(), erased_at=erasure.occurred_at, erased_until=until)
        counts = {"flow state: rerank": int(known), "plans topic": int(before.planned)}
        proofs = [
            Purged(cause=erasure.event_id, subject="user", subject_id=user_id, store=store, count=count, purged_at=now)
            for store, count in counts.items()
        ]
        # In one stream with the plans: one that was asked for before must not be published after its tombstone.
        return [Send(PLANS, user_id, None), *(Send(PURGES, user_id, proof) for proof in proofs)]

    def _is_over(self) -> bool:
        """Return whether nothing is left to keep, not even that the viewer was forgotten."""
        over = not self.state.user_id and self._clock() >= self.state.erased_until
        if over and self.state.erased_until:
            FORGOTTEN.set()
        return over

    def _plan(self, taken_at: float) -> list[FromViewer]:
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
        if request is None:
            return []
        self.state.planned = True
        trace, self.state.trace = self.state.trace, None
        return [Asked(request, trace, taken_at)]

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
            if self.state.user_id or not self.state.erased_until:
                return None
            return datetime.fromtimestamp(self.state.erased_until / 1000, UTC)
        return datetime.fromtimestamp((self._retry_at or self._clock()) / 1000, UTC)

    def snapshot(self) -> bytes:
        return dump(self.state)


def planner(
    ranker: Ranker, viewers: ViewerSource, settings: FlowSettings, clock: Clock, tracer: Tracer = UNTRACED
) -> Callable[[FromViewer], tuple[str, Send]]:
    """Return what makes a plan of a request, and lets through what is to be sent as it is.

    A viewer whose features can't be read is ranked for by the wishes alone."""

    def plan(asked: FromViewer) -> tuple[str, Send]:
        if isinstance(asked, Send):
            return asked.key, asked
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
            ranking=ranking.items,
            steering=request.steering,
            policy_version=ranking.policy_version,
        )
        trace = tracer.record(
            "rerank.plan",
            asked.trace,
            started_at=asked.taken_at,
            user_id=request.user_id,
            attributes={"trigger": request.trigger, "pool": len(request.pool), "policy": ranking.policy_version},
        )
        return request.user_id, Send(PLANS, request.user_id, made, trace)

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
    tracer: Tracer = UNTRACED,
) -> Stream[tuple[str, Send]]:
    """Return the plans, and what an erasure leaves of them, that come of interactions, instructions and slates."""
    by_viewer = op.stateful_batch(
        "viewer", events, lambda snapshot: RerankLogic(snapshot, videos, ranker, settings, budget, clock)
    )
    return op.map("rank", op.key_rm("of-viewer", by_viewer), planner(ranker, viewers, settings, clock, tracer))


def build(
    kafka: KafkaSettings,
    settings: FlowSettings,
    *,
    videos: Videos,
    ranker: Ranker,
    viewers: ViewerSource,
    producer: EventProducer,
    pulse: Pulse,
    budget: Budget,
    tracer: Tracer = UNTRACED,
) -> Dataflow:
    """Return the dataflow. `budget` says, when asked, whether one more plan may be made now over all viewers."""
    flow = Dataflow("rerank")
    # One bad event is one dead letter: profile makes those of interactions, feedback those of slates.
    interactions, _ = events_of(flow, kafka, INTERACTIONS, pulse, wait_ms=WAIT_MS)
    slates, _ = events_of(flow, kafka, SLATES, pulse, wait_ms=WAIT_MS)
    events = op.merge("all", interactions, slates)
    plans = graph(events, settings, videos=videos, ranker=ranker, viewers=viewers, budget=budget, tracer=tracer)
    publish("publish", [plans], producer, pulse)
    return flow
