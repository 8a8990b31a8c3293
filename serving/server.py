"""The API process: a node with real clients, the threads that fill its memory, and uvicorn around it."""

import asyncio
import gc
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI
from threadpoolctl import threadpool_limits

from feature_repo.settings import FeatureStoreSettings
from models.settings import LearningSettings, MediaSettings, TritonSettings
from serving.api import create_app
from serving.catalogue import Catalogue
from serving.experiments.settings import ExperimentSettings
from serving.feed.feed import Feed
from serving.graceful import GracefulServer, end_for_certain
from serving.media_store import forget_left
from serving.node import Check, Node
from serving.ops.offsets import KafkaBroker
from serving.ops.probes import Probe, triton_is_ready
from serving.posters import forget_old_posters
from serving.settings import ApiSettings, FeedSettings
from streams.clock import now_ms
from streams.dead_letters import DeadLetters
from streams.every import every
from streams.follower import Follower
from streams.heartbeat import Pulse, beating
from streams.kafka import EventProducer, KafkaSettings, check_broker
from streams.lossy import LossyProducer
from streams.ports import ViewerSource
from streams.settings import TelemetrySettings
from streams.topics import DEAD_LETTERS, FEEDBACK, HEARTBEATS, PLANS, PURGES, RELEASES, SPANS
from streams.tracing import open_tracer

log = logging.getLogger(__name__)

# A request that waits for the interpreter's lock waits this long for a busy thread to give it up; the default, 5 ms, is
# a fifth of what a page may take.
_SWITCH_S = 0.0005
# How long the answers of /readyz are good for: an eager prober must not become the broker's load.
_CHECKED_FOR_S = 2.0
# What is new of videos waits so long for more of it: statistics come with each tap, and each wake-up takes from requests.
_VIDEOS_WAIT_MS = 20
# How often stills of videos that left for their age are looked for: each look reads the whole folder.
_POSTERS_EVERY_S = 3600.0


def serve(
    api: ApiSettings,
    feed: FeedSettings,
    kafka: KafkaSettings,
    features: FeatureStoreSettings,
    media: MediaSettings,
    telemetry: TelemetrySettings,
    triton: TritonSettings,
    experiments: ExperimentSettings,
    learning: LearningSettings,
) -> None:
    """Serve until SIGTERM or SIGINT: then requests in flight are answered, and what was accepted is flushed.

    Raises:
        ValueError: settings that contradict each other.
    """
    sys.setswitchinterval(_SWITCH_S)
    for signum in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has stopped: the default would then end us before the producer is flushed.
        signal.signal(signum, lambda *_: sys.exit(0))
    with ExitStack() as held:
        # The feed's matrices are small: a second thread of the linear algebra costs more waiting than it saves.
        held.enter_context(threadpool_limits(1, user_api="blas"))
        app = held.enter_context(application(api, feed, kafka, features, media, telemetry, triton, experiments, learning))
        GracefulServer(
            uvicorn.Config(
                app,
                host=api.host,
                port=api.port,
                loop="uvloop",
                http="httptools",
                access_log=False,
                log_config=None,
                server_header=False,
                # Longer than a balancer keeps a connection idle (60 s as a rule), which would else send a request into its end.
                timeout_keep_alive=75,
                forwarded_allow_ips=list(api.proxies),
                timeout_graceful_shutdown=int(api.stop_grace_s),
            ),
            app.state.streams,
            # For the requests in flight, for the producer, and a second.
            at_stop=partial(end_for_certain, 2 * api.stop_grace_s + 1),
        ).run()


@contextmanager
def application(
    api: ApiSettings,
    feed: FeedSettings,
    kafka: KafkaSettings,
    features: FeatureStoreSettings,
    media: MediaSettings,
    telemetry: TelemetrySettings | None = None,
    triton: TritonSettings | None = None,
    experiments: ExperimentSettings | None = None,
    learning: LearningSettings | None = None,
) -> Iterator[FastAPI]:
    """Give the application with real clients; what it holds is flushed and closed in the end."""
    # Feast takes seconds to import: whoever needs only the settings of this room shall not wait for it.
    from feature_repo.reader import FeatureReader

    _check_media_folder(api, media)
    forget_left(Path(api.media_dir))
    with ExitStack() as held:
        producer = EventProducer(kafka)
        held.callback(_flush, producer, api.stop_grace_s)
        viewers = FeatureReader(features)
        readiness = Readiness(kafka, viewers, producer)
        telemetry = telemetry or TelemetrySettings()
        aside = held.enter_context(closing(LossyProducer(kafka)))
        tracer = held.enter_context(closing(open_tracer("api", telemetry, aside)))
        node = Node(
            api,
            feed,
            media,
            publisher=producer,
            viewers=viewers,
            checks=readiness.checks,
            telemetry=telemetry,
            tracer=tracer,
            experiments=experiments,
            learning=learning,
        )
        held.enter_context(closing(node.feed.viewers))
        readiness.followers = {
            "catalogue": Follower(kafka, Catalogue.topics, node.follow_videos, wait_ms=_VIDEOS_WAIT_MS, name="catalogue"),
            "plans": Follower(kafka, [PLANS], node.follow_plans, name="plans"),
            "purges": Follower(kafka, [PURGES], node.purges.follow, from_end=True, name="purges"),
            "spans": Follower(kafka, [SPANS], node.follow_spans, from_end=True, name="spans"),
        }
        operations = Follower(
            kafka, [HEARTBEATS, DEAD_LETTERS, PURGES], node.follow_operations, wait_ms=250, at_once=50, name="operations"
        )
        # Apart from all others: a model takes seconds to load.
        releases = Follower(kafka, [RELEASES], node.models.follow, name="releases")
        # These may lag behind: nothing that a viewer is shown waits for them.
        unhurried = [operations, releases]
        if node.experiments is not None:
            told, since = node.experiments.follow, node.experiments.since_ms
            follower = Follower(kafka, [FEEDBACK, PURGES], told, from_ms=since, wait_ms=250, at_once=50, name="experiments")
            unhurried.append(follower)
        node.ops.letters.connect(DeadLetters(kafka), operations.caught_up.is_set)
        probes = [Probe("broker", node.ops.offsets(KafkaBroker(kafka))), Probe("redis", viewers.ping)]
        if triton is not None and triton.http_url:
            probes.append(Probe("triton", triton_is_ready(triton.http_url)))

        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            with ExitStack() as running:
                for follower in readiness.followers.values():
                    running.enter_context(closing(follower.start()))
                for follower in unhurried:
                    running.enter_context(closing(follower.start()))
                running.enter_context(node.ops.running(probes))
                running.enter_context(beating(Pulse("api"), aside))
                # Ends before its follower is waited for: a space that is being filled is given up.
                running.callback(node.feed.close)
                sweep_posters = partial(_forget_old_posters, Path(api.posters_dir), kept_s=feed.max_age_h * 3600)
                running.enter_context(every(_POSTERS_EVERY_S, sweep_posters, name="posters"))
                running.enter_context(_sweeping(node.feed, readiness.followers["catalogue"], every_s=feed.shelf_every_s))
                yield

        yield create_app(node, lifespan=lifespan)


class Readiness:
    """Whether this node may be sent requests, asked again at most every two seconds."""

    def __init__(self, kafka: KafkaSettings, viewers: ViewerSource, producer: EventProducer) -> None:
        self.followers: dict[str, Follower] = {}
        self._kafka = kafka
        self._viewers = viewers
        self._producer = producer
        self._checked_at = -_CHECKED_FOR_S
        self._clients: list[Check] = []
        self._checking = asyncio.Lock()

    async def checks(self) -> list[Check]:
        """Return what this node needs and whether it is there."""
        caught_up = [
            Check(name=name, ok=follower.caught_up.is_set(), detail="" if follower.caught_up.is_set() else "still reading")
            for name, follower in self.followers.items()
        ]
        async with self._checking:
            if time.monotonic() > self._checked_at + _CHECKED_FOR_S:
                self._clients = list(await asyncio.gather(asyncio.to_thread(self._broker), asyncio.to_thread(self._features)))
                self._checked_at = time.monotonic()
        return [*caught_up, *self._clients, self._accepting()]

    def _accepting(self) -> Check:
        if self._producer.failure is None:
            return Check(name="producer", ok=True)
        return Check(name="producer", ok=False, detail=f"takes no event any more, restart this node: {self._producer.failure}")

    def _broker(self) -> Check:
        try:
            check_broker(self._kafka, timeout_s=2.0)
        except ConnectionError as error:
            # Not required: a node that is taken out of rotation for it shows its viewers nothing, and so do all others.
            detail = f"pages are made from memory, events are answered with 503: {error}"
            return Check(name="broker", ok=False, required=False, detail=detail)
        return Check(name="broker", ok=True, required=False)

    def _features(self) -> Check:
        try:
            self._viewers.viewer("readyz")
        except Exception as error:
            detail = f"pages are made from memory: {error}"
            return Check(name="features", ok=False, required=False, detail=detail)
        return Check(name="features", ok=True, required=False)


def _forget_old_posters(folder: Path, *, kept_s: float) -> None:
    forget_old_posters(folder, before=time.time() - kept_s)


@contextmanager
def _sweeping(feed: Feed, loading: Follower, *, every_s: float) -> Iterator[None]:
    """Sweep the feed every few seconds, on a thread of its own."""
    rng = np.random.default_rng()
    to_freeze = 0
    # While a hundred thousand videos come in, the collector would look at all of them again and again, and find nothing.
    gc.disable()

    def sweep() -> None:
        nonlocal to_freeze
        try:
            feed.sweep(now_ms=now_ms(), rng=rng)
        finally:
            if loading.caught_up.is_set() and len(feed.catalogue) >= to_freeze:
                # Videos stay: looked at by every full collection, a hundred thousand would stop all requests for 0.1 s.
                gc.freeze()
                gc.enable()
                to_freeze = int(len(feed.catalogue) * 1.1) + 1000

    try:
        with every(every_s, sweep, name="sweep", wait_s=5.0):
            yield
    finally:
        gc.enable()


def _flush(producer: EventProducer, timeout_s: float) -> None:
    left = producer.close(timeout_s)
    if left:
        log.error("%d events were not taken by the broker within %g s", left, timeout_s)


def _check_media_folder(api: ApiSettings, media: MediaSettings) -> None:
    folder = Path(api.media_dir).resolve()
    if not any(folder.is_relative_to(root.resolve()) for root in media.roots):
        roots = ", ".join(map(str, media.roots))
        raise ValueError(f"api.media_dir {api.media_dir} is not below media.roots ({roots}): uploaded files could not be read")
