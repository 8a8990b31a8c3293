"""perceive: an upload becomes servable from its title at once, and is understood from its frames after.

uploads → titles, a batch at a time → by video: known? gone? → frames, on worker threads → `perceptions` and Feast
"""

from collections.abc import Callable, Iterable

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream

from streams.clock import Clock, now_ms
from streams.events import Perception, Upload
from streams.flows.feature_io import FeatureItem, write_features
from streams.flows.kafka_io import Keyed, Send, events_of, publish
from streams.flows.perceive_video import PerceiveLogic, Titled
from streams.flows.split import split
from streams.flows.workers import Workers
from streams.kafka import EventProducer, KafkaSettings
from streams.ports import Features, Perceiver, PerceptionUnavailable
from streams.settings import FlowSettings
from streams.topics import UPLOADS

# One encoder call for so many titles: more makes the first of them wait for the last.
TITLES_AT_ONCE = 32


def titler(perceiver: Perceiver) -> Callable[[list[Keyed]], Iterable[tuple[str, Titled]]]:
    """Return what perceives a batch of uploads from their titles; None where the encoder is away, for later."""

    def perceive_titles(batch: list[Keyed]) -> Iterable[tuple[str, Titled]]:
        for start in range(0, len(batch), TITLES_AT_ONCE):
            chunk = batch[start : start + TITLES_AT_ONCE]
            uploads = [received.event for _, received in chunk if isinstance(received.event, Upload)]
            perceptions: Iterable[Perception | None]
            try:
                perceptions = perceiver.titles(uploads) if uploads else ()
            except PerceptionUnavailable:
                perceptions = [None] * len(uploads)
            ready = iter(perceptions)
            for key, received in chunk:
                yield key, Titled(received, next(ready) if isinstance(received.event, Upload) else None)

    return perceive_titles


def graph(
    uploads: Stream[Keyed],
    settings: FlowSettings,
    *,
    perceiver: Perceiver,
    features: Features,
    forget_media: Callable[[Upload], int],
    clock: Clock = now_ms,
) -> tuple[Stream[tuple[str, Send]], Stream[FeatureItem]]:
    """Return the perceptions (and tombstones, and dead letters), and the feature rows, that come of uploads."""
    workers = Workers(settings.perceive_concurrency)
    titled = op.flat_map_batch("titles", uploads, titler(perceiver))
    by_video = op.stateful_batch(
        "video",
        titled,
        lambda snapshot: PerceiveLogic(snapshot, perceiver, workers, features, forget_media, settings, clock),
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
    forget_media: Callable[[Upload], int],
) -> Dataflow:
    """Return the dataflow. `forget_media` deletes what was stored of an upload's media and returns how many files."""
    flow = Dataflow("perceive")
    uploads, dead_letters = events_of(flow, kafka, UPLOADS)
    perceptions, rows = graph(uploads, settings, perceiver=perceiver, features=features, forget_media=forget_media)
    write_features("features", rows, features, producer)
    publish("publish", [perceptions, dead_letters], producer)
    return flow
