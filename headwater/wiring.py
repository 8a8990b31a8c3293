"""Puts the rooms together: one function for each flow, one for the API and one for the learner.

Importing it costs seconds of CPU (Feast, Bytewax, FastAPI): it is loaded once, in the process that the others are forked from.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from bytewax.dataflow import Dataflow
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from feature_repo import store
from feature_repo.reader import FeatureReader
from feature_repo.writer import FeatureWriter
from headwater import planning
from headwater.arenas import share_arenas
from headwater.flows import FlowName
from headwater.learning import keep_learning
from headwater.settings import Settings
from headwater.stored_media import forget_files
from models.perception.agent import PerceptionAgent
from models.perception.choice import understood_by
from models.perception.duplicates import KnownVideos
from models.perception.encoders import Encoders
from models.viewers.interest_ranker import InterestRanker
from serving.server import serve
from streams.flows import feedback, perceive, profile, rerank
from streams.flows.run import run
from streams.flows.stopping import STOPPING
from streams.follower import Follower
from streams.heartbeat import Pulse, beating
from streams.kafka import EventProducer, cluster_id
from streams.lossy import LossyProducer
from streams.topics import PERCEPTIONS
from streams.tracing import Tracer, open_tracer
from streams.videos import VideoTable

# Their events wait for windows and rate limits anyway, so a longer pause for a larger snapshot costs nobody anything.
BACKGROUND: frozenset[FlowName] = frozenset({"rerank", "feedback"})


def run_flow(name: FlowName, settings: Settings, workers: int | None = None) -> None:
    """Run the flow `name` until it is told to stop."""
    share_arenas()
    if name in BACKGROUND:
        # On a busy machine they give way to what a viewer waits for.
        os.nice(10)
    pulse = Pulse(f"flow-{name}")
    with ExitStack() as held:
        aside = held.enter_context(closing(LossyProducer(settings.kafka)))
        tracer = held.enter_context(closing(open_tracer(pulse.process, settings.telemetry, aside)))
        flow = _BUILD[name](settings, held, pulse, tracer)
        held.enter_context(beating(pulse, aside))
        run(
            flow,
            workers=workers or settings.flows.workers,
            snapshot_ms=settings.flows.background_snapshot_ms if name in BACKGROUND else settings.flows.snapshot_ms,
            recovery_dir=recovery_folder(settings) / name,
            cluster=cluster_id(settings.kafka),
            scrub_every_s=settings.flows.scrub_every_s,
        )


def run_api(settings: Settings) -> None:
    """Serve the API until it is told to stop."""
    share_arenas()
    serve(
        settings.api,
        settings.feed,
        settings.kafka,
        settings.features,
        settings.media,
        settings.telemetry,
        settings.triton,
        settings.experiments,
        settings.learning,
    )


def run_learner(settings: Settings) -> None:
    """Let models learn as feedback comes, until it is told to stop."""
    keep_learning(settings)


def apply_features(settings: Settings) -> None:
    """Register the feature views, as `feast apply` does."""
    store.apply(settings.features)


def recovery_folder(settings: Settings) -> Path:
    """Return the folder in which each flow keeps its snapshots."""
    return settings.var / "recovery"


def _perceive(settings: Settings, held: ExitStack, pulse: Pulse, tracer: Tracer) -> Dataflow:
    return perceive.build(
        settings.kafka,
        settings.flows,
        perceiver=_perceiver(settings, held, pulse),
        features=held.enter_context(closing(FeatureWriter(settings.features, stopping=STOPPING))),
        producer=_producer(settings, held),
        pulse=pulse,
        tracer=tracer,
        forget_media=partial(forget_files, Path(settings.api.media_dir), Path(settings.api.posters_dir)),
    )


def _profile(settings: Settings, held: ExitStack, pulse: Pulse, tracer: Tracer) -> Dataflow:
    return profile.build(
        settings.kafka,
        videos=_videos(settings, held),
        features=held.enter_context(closing(FeatureWriter(settings.features, stopping=STOPPING))),
        producer=_producer(settings, held),
        pulse=pulse,
        tracer=tracer,
    )


def _rerank(settings: Settings, held: ExitStack, pulse: Pulse, tracer: Tracer) -> Dataflow:
    videos = _videos(settings, held)
    return rerank.build(
        settings.kafka,
        settings.flows,
        videos=videos,
        ranker=planning.ranker(
            settings, held, pulse, InterestRanker(Encoders(settings.triton, count=pulse.count), videos), videos
        ),
        viewers=FeatureReader(settings.features),
        producer=_producer(settings, held),
        pulse=pulse,
        tracer=tracer,
        budget=plan_budget(settings.flows.plan_budget_per_minute),
    )


def _feedback(settings: Settings, held: ExitStack, pulse: Pulse, _tracer: Tracer) -> Dataflow:
    return feedback.build(settings.kafka, settings.flows, producer=_producer(settings, held), pulse=pulse)


def _perceiver(settings: Settings, held: ExitStack, pulse: Pulse) -> PerceptionAgent:
    encoders = held.enter_context(closing(Encoders(settings.triton, count=pulse.count)))
    understanding = held.enter_context(understood_by(settings.understanding, encoders))
    known = KnownVideos()
    held.enter_context(
        closing(Follower(settings.kafka, [PERCEPTIONS], known.take_in, name="known-videos").start(timeout_s=120.0))
    )
    return PerceptionAgent(
        encoders,
        understanding,
        settings.media,
        known=known,
        steps=settings.steps,
        rewrite_within_s=settings.understanding.timeout_s,
        count=pulse.count,
    )


_BUILD: dict[FlowName, Callable[[Settings, ExitStack, Pulse, Tracer], Dataflow]] = {
    "perceive": _perceive,
    "profile": _profile,
    "rerank": _rerank,
    "feedback": _feedback,
}


def plan_budget(per_minute: int) -> Callable[[], bool]:
    """Return what says, when asked, whether one more plan may be made now."""
    limiter, rate = MovingWindowRateLimiter(MemoryStorage()), RateLimitItemPerMinute(per_minute)
    return lambda: limiter.hit(rate, "plans")


def _producer(settings: Settings, held: ExitStack) -> EventProducer:
    return held.enter_context(closing(EventProducer(settings.kafka, patient=True)))


def _videos(settings: Settings, held: ExitStack) -> VideoTable:
    videos = VideoTable()
    held.enter_context(closing(videos.follow(settings.kafka)))
    return videos
