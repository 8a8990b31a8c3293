"""perceive: an upload becomes servable from its title at once, and is understood from its frames after.

uploads → titles, a batch at a time → by video: known? gone? → frames, on worker threads → `perceptions` and Feast
"""

from collections.abc import Callable, Iterable

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream

from streams.clock import Clock, now_ms
from streams.events import Upload
from streams.flows.feature_io import FeatureItem, write_features
from streams.flows.kafka_io import Keyed, Send, events_of, publish
from streams.flows.perceive_video import PerceiveLogic, Titled
from streams.flows.reachable import Reachable
from streams.flows.split import split
from streams.flows.workers import Workers
from streams.heartbeat import Pulse
from streams.kafka import EventProducer, KafkaSettings
from streams.ports import Features, Perceiver
from streams.settings import FlowSettings
from streams.topics import UPLOADS
from streams.trace_context import is_sampled
from streams.tracing import UNTRACED, Tracer, precise_now

# One encoder call for so many titles: more makes the first of them wait for the last.
TITLES_AT_ONCE = 32


def titler(perceiver: Reachable, tracer: Tracer = UNTRACED) -> Callable[[list[Keyed]], Iterable[tuple[str, Titled]]]:
    """Return what perceives a batch of uploads from their titles; None where the encoder is away, for later."""

    def perceive_titles(batch: list[Keyed]) -> Iterable[tuple[str, Titled]]:
        for start in range(0, len(batch), TITLES_AT_ONCE):
            chunk = batch[start : start + TITLES_AT_ONCE]
            uploads = [received.event for _, received in chunk if isinstance(received.event, Upload)]
            started_at = precise_now()
            ready = iter(perceiver.titles_at_once(uploads))
            for _, received in chunk:
                if is_sampled(received.trace) and isinstance(received.event, Upload):
                    author = received.event.author_id
                    tracer.record("perceive.title", received.trace, started_at=started_at, user_id=author)
            for key, received in chunk:
                yield key, Titled(received, next(ready) if isinstance(received.event, Upload) else None)

    return perceive_titles


def graph(
    uploads: Stream[Keyed],
    settings: FlowSettings,
    *,
    perceiver: Perceiver,
    features: Features,
    forget_media: Callable[[str], int],
    clock: Clock = now_ms,
    tracer: Tracer = UNTRACED,
) -> tuple[Stream[tuple[str, Send]], Stream[FeatureItem]]:
    """Return the perceptions (and tombstones, and dead letters), and the feature rows, that come of uploads."""
    workers, reachable = Workers(settings.perceive_concurrency), Reachable(perceiver)
    titled = op.flat_map_batch("titles", uploads, titler(reachable, tracer))
    by_video = op.stateful_batch(
        "video",
        titled,
        lambda snapshot: PerceiveLogic(snapshot, reachable, workers, features, forget_media, settings, clock, tracer),
    )
    sends, rows = split("perceptions", op.key_rm("of-video", by_video), Send)
    return op.key_on("by-video", sends, lambda send: send.key), rows


def build(
    kafka: KafkaSettings,
    settings: FlowSettings,
    *,
    perceiver: Perceiver,
    features: Features,
    producer: EventProducer,
    pulse: Pulse,
    forget_media: Callable[[str], int],
    tracer: Tracer = UNTRACED,
) -> Dataflow:
    """Return the dataflow. `forget_media` deletes the media stored for a video and returns how many files went."""
    flow = Dataflow("perceive")
    uploads, dead_letters = events_of(flow, kafka, UPLOADS, pulse)
    perceptions, rows = graph(
        uploads, settings, perceiver=perceiver, features=features, forget_media=forget_media, tracer=tracer
    )
    write_features("features", rows, features, producer, pulse)
    publish("publish", [perceptions, dead_letters], producer, pulse)
    return flow
