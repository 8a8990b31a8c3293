"""One API node: everything its routes need, composed once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from msgspec import Struct
from starlette.requests import Request
from uuid_utils import uuid7

from models.ranking.ranker import Ranker
from models.settings import LearningSettings, MediaSettings
from serving.experiments.outcomes import ExperimentOutcomes
from serving.experiments.settings import ExperimentSettings
from serving.feed.feed import Feed, build_feed
from serving.keys import Keys
from serving.limits import Limits
from serving.metrics import Metrics
from serving.models import Loads, Models, policy_name
from serving.ops.exporter import OpsCollector
from serving.ops.learning import Learning
from serving.ops.ops import Ops
from serving.progress import Progress
from serving.purges import Purges, Store
from serving.sampling import Sampling
from serving.settings import ApiSettings, FeedSettings
from serving.sse import Fanout, Streams
from serving.versions import Versions
from streams.clock import Clock, now_ms
from streams.events import Event, Plan, Slate, Span
from streams.follower import Followed
from streams.kafka import NotAccepted
from streams.ports import ViewerSource
from streams.settings import TelemetrySettings
from streams.topics import SLATES, Topic
from streams.trace_context import is_sampled
from streams.tracing import UNTRACED, OpenSpan, Tracer

# Each is a process that decodes, and a file on its way to the disk: more are slower, all of them.
_FILES_AT_ONCE = 4


class Publisher(Protocol):
    """How events reach the broker; `EventProducer` is one."""

    async def publish(self, topic: Topic, events: Sequence[Event], *, trace: str | None = None) -> None: ...

    def send(self, topic: Topic, event: Event, *, trace: str | None = None) -> None: ...

    def __len__(self) -> int: ...


class Check(Struct, frozen=True, kw_only=True):
    """One thing that a node needs; without a required one it is not ready, without another it is degraded."""

    name: str
    ok: bool
    required: bool = True
    detail: str = ""


class Node:
    """The feed, the way to the broker, and what is shared by all requests."""

    def __init__(
        self,
        api: ApiSettings,
        feed: FeedSettings,
        media: MediaSettings,
        *,
        publisher: Publisher,
        viewers: ViewerSource,
        checks: Callable[[], Awaitable[list[Check]]],
        clock: Clock = now_ms,
        rng: np.random.Generator | None = None,
        telemetry: TelemetrySettings | None = None,
        tracer: Tracer = UNTRACED,
        ranker: Callable[[str], Ranker | None] | None = None,
        experiments: ExperimentSettings | None = None,
        learning: LearningSettings | None = None,
    ) -> None:
        self.api = api
        self.feed_settings = feed
        self.media = media
        self.publisher = publisher
        self.checks = checks
        self.clock = clock
        self.rng = rng or np.random.default_rng()
        self.limits = Limits(api)
        self.keys = Keys(api, clock, self.limits)
        self.streams = Streams(api.max_streams)
        self.progress = Progress()
        self.sampling = Sampling(telemetry or TelemetrySettings())
        self.tracer = tracer
        self.spans: Fanout[Span] = Fanout()
        self.metrics = Metrics()
        share = learning.canary_share if learning is not None else 0.0
        rankers = Versions("ranker", lambda folder, version: Ranker.load(folder), share=share)
        self.feed: Feed = build_feed(
            feed,
            viewers,
            self._publish_slate,
            ranker=ranker or rankers.of,
            models=lambda user_id: self.models.serving(user_id),
            canary_share=share,
            experiments=experiments,
        )
        served = self.feed.towers.slots() | rankers.slots()
        self.models = Models(served, Loads(self.metrics.model_loads), clock, share=share)
        self.purges = Purges(self.forget_user)
        self.experiments = ExperimentOutcomes(experiments) if experiments is not None and experiments.running else None
        # Uploads and stills wait for disks and decoders: on the loop's own threads they would hold up /readyz.
        self.files = ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="files")
        self._letters = ThreadPoolExecutor(1, thread_name_prefix="letters")
        self.learning = Learning(learning)
        self.ops = Ops(self.feed, feed, self.metrics, lambda: self.streams.open, clock, self.models, self.experiments)
        self.metrics.add(OpsCollector(self.ops))
        self.metrics.watch("catalogue_videos", "videos that may be shown", lambda: len(self.feed.catalogue))
        self.metrics.watch("producer_queue_events", "events that wait for the broker", lambda: len(publisher))
        self.metrics.watch("features_degraded", "1 while pages are made from memory", lambda: self.feed.viewers.degraded)

    def policy_version(self, user_id: str) -> str:
        """Return what makes a viewer's pages now, as slates name it."""
        return policy_name(self.feed_settings.policy_version, self.models.serving(user_id))

    def span(self, name: str, request: Request, *, user_id: str) -> OpenSpan:
        """Begin the span of what `request` asks for, from when it came."""
        return self.tracer.start(name, request.state.trace, started_at=request.state.started_at, user_id=user_id)

    def follow_videos(self, batch: Sequence[Followed]) -> None:
        """Take over a batch of what happens to videos, as a Follower hands it over."""
        self.feed.catalogue.follow(batch)
        self.progress.follow(batch)

    def follow_plans(self, batch: Sequence[Followed]) -> None:
        """Take over a batch of plans, as a Follower hands it over."""
        self.feed.plans.follow(batch)
        for followed in batch:
            plan = followed.event
            if is_sampled(followed.trace) and isinstance(plan, Plan):
                self.tracer.record(
                    "plan.received",
                    followed.trace,
                    started_at=followed.appended_at,
                    user_id=plan.user_id,
                    attributes={"trigger": plan.trigger, "videos": len(plan.ranking)},
                )

    def follow_operations(self, batch: Sequence[Followed]) -> None:
        """Take over a batch of heartbeats, dead letters and proofs, as a Follower hands it over."""
        self.ops.follow(batch)
        # A letter may be the end of a new video's way.
        self.progress.follow(batch)

    def follow_spans(self, batch: Sequence[Followed]) -> None:
        """Hand spans to those who watch them, as a Follower hands them over."""
        for followed in batch:
            if followed.event is not None:
                self.spans.publish(followed.event)

    def forget_user(self, user_id: str) -> Store:
        """Remove a viewer from this node's memory."""
        feed = self.feed
        count = feed.viewers.forget(user_id) + feed.plans.forget(user_id) + feed.last_pages.forget(user_id)
        if self.experiments is not None:
            count += self.experiments.forget(user_id, at=self.clock())
        return Store(store="memory of this API node", status="purged", purged=count)

    async def forget_letters(self, name: str) -> Store:
        """Remove every dead letter that mentions a viewer or video; one that takes too long goes on, and is pending."""
        store = "dead-letters topic"
        try:
            # One after the other, on a thread of their own: each may read all letters there are, and nobody else waits for it.
            forgetting = asyncio.get_running_loop().run_in_executor(self._letters, self.ops.letters.forget, name)
            count = await asyncio.wait_for(asyncio.shield(forgetting), self.api.purge_wait_s)
        except (ConnectionError, TimeoutError) as error:
            reason = str(error) or f"not done within {self.api.purge_wait_s:g} s"
            return Store(store=store, status="pending", detail=f"{reason}; ask again to be sure")
        return Store(store=store, status="purged", purged=count)

    def forget_video(self, video_id: str) -> Store:
        """Remove a video from this node's memory, at once and for good."""
        count = self.feed.catalogue.take_out(video_id, at=self.clock())
        return Store(store="memory of this API node", status="purged", purged=count)

    def _publish_slate(self, slate: Slate, trace: str | None) -> None:
        try:
            self.publisher.send(SLATES, slate, trace=trace)
        except NotAccepted:
            # The viewer has the page; what is lost is one lesson, and it is counted.
            self.metrics.slates_lost.inc()


def new_id() -> str:
    """Return a UUIDv7: unique, and sorted by time."""
    return str(uuid7())
