"""What hostile input is aimed at, in memory: each flow's decoder and graph, and all that an API node and the flows follow.

A target counts what it took and what it refused, and looks at all that comes out: a flow must send nothing that its reader
would refuse, and a page must be made after anything.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import bytewax.operators as op
import numpy as np
from bytewax.connectors.kafka import KafkaSourceMessage
from bytewax.dataflow import Dataflow, Stream
from bytewax.testing import TestingSink, TestingSource, run_main

from bench.mutations import USERS, Maker, Raw
from feature_repo.layout import fields
from feature_repo.schema import VIEW_OF
from models.settings import MediaSettings
from serving.catalogue import Catalogue
from serving.feed.query import Query
from serving.node import Check, Node
from serving.outputs import feed_page
from serving.settings import ApiSettings, FeedSettings
from streams.clock import now_ms
from streams.codec import MAX_EVENT_BYTES, BadEvent, decode, encode
from streams.events import Event, Feedback, Perception, PlanItem, Steer, Upload
from streams.features import FeatureRow, ViewerFeatures
from streams.flows import feedback, perceive, profile, rerank
from streams.flows.feature_io import Forget
from streams.flows.feedback_log import FeedbackLog
from streams.flows.kafka_io import Keyed, Received, Send, decoder
from streams.follower import Followed, followed, hand_over
from streams.ports import BadMedia, Ranking
from streams.settings import FlowSettings
from streams.topics import (
    DEAD_LETTERS,
    FEEDBACK,
    HEARTBEATS,
    INTERACTIONS,
    PERCEPTIONS,
    PLANS,
    PURGES,
    SLATES,
    SPANS,
    TOPICS,
    UPLOADS,
    Topic,
)  # fmt: skip
from streams.videos import VideoTable

# What a broker's partition hands over at a time.
BATCH = 1_000
# A page is asked for after so many events: one costs as much as a hundred of them.
PAGE_EVERY = 5_000

Message: TypeAlias = tuple[Topic, Raw]
Graph: TypeAlias = Callable[[Stream[Keyed], Maker, "Features"], Sequence[Stream[Any]]]


@dataclass
class Counts:
    """What became of what was sent, by topic; `out` is what flows made of it, `faults` is what must not be."""

    accepted: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    out: int = 0
    faults: list[str] = field(default_factory=list)

    def count(self, topic: Topic, *, accepted: int, refused: int) -> None:
        self.accepted[topic.name] = self.accepted.get(topic.name, 0) + accepted
        self.refused[topic.name] = self.refused.get(topic.name, 0) + refused

    def fault(self, said: str) -> None:
        # The first few say enough.
        if len(self.faults) < 20:
            self.faults.append(said)


# ── flows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Perceiver:
    """The port `Perceiver`: every title is understood at once and alike, no media can be read."""

    model_version = "fuzz-1"

    def __init__(self, made: Maker) -> None:
        self._embedding = made.embedding()

    def titles(self, uploads: Sequence[Upload]) -> list[Perception]:
        return [
            Perception(
                video=upload, stage="title", summary=upload.title, topics=(), embedding=self._embedding, perceived_at=now_ms(),
                model_version=self.model_version, language=upload.language,
            )
            for upload in uploads
        ]  # fmt: skip

    def frames(self, upload: Upload) -> Perception:
        raise BadMedia(f"upload {upload.event_id}: nothing is fetched here")


class _Ranker:
    """The port `Ranker`: as it comes."""

    def __init__(self, made: Maker) -> None:
        self._embedding = made.embedding()

    def steer(self, texts: Sequence[str]) -> list[tuple[Steer, ...]]:
        return [(Steer(text=text[:100], weight=1.0, embedding=self._embedding),) for text in texts]

    def rank(self, request: Any, viewer: ViewerFeatures) -> Ranking:
        items = (PlanItem(video_id=video_id, score=0.0) for video_id in dict.fromkeys(request.pool))
        return Ranking(tuple(items), "fuzz-1")


class Features:
    """The ports `Features` and `ViewerSource`: each row is packed as Redis would get it, and none is kept."""

    def __init__(self) -> None:
        self._fields = {struct: fields(struct) for struct in VIEW_OF}

    def write(self, rows: Sequence[Any]) -> None:
        for row in rows:
            self._fields[type(row)](row, [])

    def erase_user(self, user_id: str) -> dict[str, int]:
        return {"redis: user features": 0}

    def erase_video(self, video_id: str, kind: type[FeatureRow]) -> dict[str, int]:
        return {"redis: video features": 0}

    def viewer(self, user_id: str) -> ViewerFeatures:
        return ViewerFeatures(user_id=user_id)


def _videos(made: Maker) -> VideoTable:
    videos = VideoTable()
    seen = [made.event(PERCEPTIONS) for _ in range(USERS)]
    videos.take_in([Followed(PERCEPTIONS, perception.video_id, perception, 0) for perception in seen])
    return videos


def _perceive(events: Stream[Keyed], made: Maker, features: Features) -> Sequence[Stream[Any]]:
    settings = FlowSettings()
    return perceive.graph(events, settings, perceiver=_Perceiver(made), features=features, forget_media=lambda _video: 0)


def _profile(events: Stream[Keyed], made: Maker, features: Features) -> Sequence[Stream[Any]]:
    return profile.graph(events, op.filter("no-uploads", events, lambda _: False), videos=_videos(made), features=features)


def _rerank(events: Stream[Keyed], made: Maker, features: Features) -> Sequence[Stream[Any]]:
    settings = FlowSettings(plan_min_interval_s=0.0)
    ranker = _Ranker(made)
    return (rerank.graph(events, settings, videos=_videos(made), ranker=ranker, viewers=features, budget=lambda: True),)


def _feedback(events: Stream[Keyed], made: Maker, features: Features) -> Sequence[Stream[Any]]:
    settings = FlowSettings(feedback_silence_s=1.0, feedback_live_silence_s=0.5, feedback_max_s=5.0, feedback_grace_s=0.0)
    return (feedback.graph(events, settings),)


FLOWS: dict[str, tuple[tuple[Topic, ...], Graph]] = {
    "perceive": ((UPLOADS,), _perceive),
    "profile": ((INTERACTIONS,), _profile),
    "rerank": ((SLATES, INTERACTIONS), _rerank),
    "feedback": ((SLATES, INTERACTIONS), _feedback),
}


def into_flow(name: str, messages: Iterable[Message], *, seed: int) -> Counts:
    """Run the flow `name` over `messages` of its topics, and return what became of them."""
    counts, features, graph = Counts(), Features(), FLOWS[name][1]
    logging.disable(logging.WARNING)
    with TemporaryDirectory(prefix="headwater-fuzz-") as folder:
        log, rows = FeedbackLog(Path(folder)), []

        def look(item: Any) -> bool:
            """Note what is wrong with something that the flow lets out; nobody wants it further."""
            value = item[1] if isinstance(item, tuple) else item
            counts.out += 1
            if isinstance(value, Send) and value.event is not None:
                _look_at_sent(value.topic, value.event, counts)
            elif isinstance(value, Forget):
                value.purge()
            elif isinstance(value, Feedback):
                _look_at_sent(FEEDBACK, value, counts)
                rows.append(value)
                if len(rows) == BATCH:
                    log.add(rows)
                    rows.clear()
            elif type(value) in VIEW_OF:
                features.write([value])
            return False

        flow = Dataflow("fuzz")
        source = op.input("in", flow, TestingSource(_kafka(messages), batch_size=BATCH))
        decoded = op.flat_map_batch("decode", source, _decoding(FLOWS[name][0], counts))
        good = op.branch("good", decoded, lambda item: type(item[1]) is Received)
        made = Maker(random.Random(seed), now_ms())
        for number, stream in enumerate([*graph(good.trues, made, features), good.falses]):
            op.output(f"out-{number}", op.filter(f"look-{number}", stream, look), TestingSink([]))
        try:
            run_main(flow)
            if rows:
                log.add(rows)
        finally:
            logging.disable(logging.NOTSET)
    return counts


def _kafka(messages: Iterable[Message]) -> Iterator[Any]:
    for offset, (topic, raw) in enumerate(messages):
        headers: Any = list(raw.headers)
        yield KafkaSourceMessage(
            key=raw.key, value=raw.payload, topic=topic.name, headers=headers, latency=None, offset=offset, partition=0,
            timestamp=(1, now_ms()),
        )  # fmt: skip


def _decoding(topics: Sequence[Topic], counts: Counts) -> Callable[[list[Any]], list[Any]]:
    decoders = {topic.name: decoder(topic, "fuzz") for topic in topics}

    def decode_batch(batch: list[Any]) -> list[Any]:
        out = []
        for topic in topics:
            decoded = decoders[topic.name]([message for message in batch if message.topic == topic.name])
            good = sum(type(item) is Received for _, item in decoded)
            counts.count(topic, accepted=good, refused=len(decoded) - good)
            out += decoded
        return out

    return decode_batch


def _look_at_sent(topic: Topic, event: Event, counts: Counts) -> None:
    payload = encode(event)
    if len(payload) > MAX_EVENT_BYTES:
        counts.fault(f"{topic.name}: {len(payload)} bytes go out")
    try:
        decode(topic, payload)
    except BadEvent as bad:
        counts.fault(f"a flow sends what nobody takes: {bad}")


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Broker:
    """The port `Publisher`: looks at each slate, and keeps none."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    async def publish(self, topic: Topic, events: Sequence[Event], *, trace: str | None = None) -> None:
        for event in events:
            self.send(topic, event)

    def send(self, topic: Topic, event: Event, *, trace: str | None = None) -> None:
        _look_at_sent(topic, event, self._counts)

    def __len__(self) -> int:
        return 0


async def _no_checks() -> list[Check]:
    return []


def into_memory(topic: Topic, messages: Iterable[Message], *, seed: int) -> Counts:
    """Let an API node and the flows' table of videos follow `messages` of `topic`, ask for pages meanwhile, and count."""
    counts, made = Counts(), Maker(random.Random(seed), now_ms())
    node = Node(
        ApiSettings(),
        FeedSettings(features_timeout_s=5.0),
        MediaSettings(),
        publisher=_Broker(counts),
        viewers=Features(),
        checks=_no_checks,
        rng=np.random.default_rng(seed),
    )
    # What is there before: a catalogue to be corrupted.
    known = [made.event(PERCEPTIONS) for _ in range(USERS)]
    node.feed.catalogue.put(known, now_ms=now_ms())
    followed_by: list[tuple[Sequence[Topic], Callable[[list[Followed]], None]]] = [
        (Catalogue.topics, node.follow_videos),
        ([PLANS], node.follow_plans),
        ([PURGES], node.purges.follow),
        ([SPANS], node.follow_spans),
        ([HEARTBEATS, DEAD_LETTERS, PURGES], node.ops.follow),
        ([PERCEPTIONS], VideoTable().take_in),
    ]
    handlers = [handle for topics, handle in followed_by if topic in topics]
    logging.disable(logging.WARNING)
    try:
        with asyncio.Runner() as runner:
            for number, batch in enumerate(_batches(messages)):
                taken, now = [], now_ms()
                for _, raw in batch:
                    try:
                        taken.append(followed(topic, raw.payload, raw.key, now))
                    except BadEvent:
                        counts.count(topic, accepted=0, refused=1)
                counts.count(topic, accepted=len(taken), refused=0)
                for handle in handlers:
                    hand_over(handle, taken, lambda one, error: counts.fault(f"{one.topic.name}: {error!r}"))
                if number % (PAGE_EVERY // BATCH) == 0:
                    node.feed.sweep(now_ms=now, rng=node.rng)
                    runner.run(_page(node, f"user-{number % USERS}", counts))
    finally:
        logging.disable(logging.NOTSET)
        node.feed.viewers.close()
    return counts


async def _page(node: Node, user_id: str, counts: Counts) -> None:
    query = Query(request_id="fuzz", user_id=user_id, limit=10, now_ms=now_ms(), rng=node.rng)
    page = await node.feed.pipeline.run(query)
    counts.out += len(page.items)
    numbers = [number for item in page.items for number in (item.score, item.propensity, *item.parts.values())]
    if not np.isfinite(numbers).all():
        counts.fault(f"a score that is no number: {feed_page(page, policy_version='', explain=True)}")


def _batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    batch: list[Message] = []
    for message in messages:
        batch.append(message)
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch


MEMORY: tuple[Topic, ...] = tuple(topic for topic in TOPICS if topic not in (INTERACTIONS, SLATES))
