"""The four dataflows without a broker: events in, events and rows out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main
from msgspec import structs

from streams.codec import decode, encode, pack_vector
from streams.events import Erasure, Instruction, Perception, Plan, PlanItem, Slate, SlateItem, Steer, Takedown
from streams.features import UserActivity, VideoContent, VideoEngagement
from streams.flows import feedback, perceive, profile, rerank
from streams.flows.feature_io import Forget, Readable
from streams.flows.feedback_log import FeedbackLog
from streams.flows.kafka_io import Received, Send, decoder
from streams.ports import PerceptionUnavailable, Ranking
from streams.settings import FlowSettings
from streams.state.engagement import Engaged
from streams.topics import DEAD_LETTERS, FEEDBACK, INTERACTIONS, PERCEPTIONS, PLANS, PURGES, SLATES, VIDEO_STATS
from tests.streams.world import NOW, FeaturesInMemory, VideosInMemory, interaction, received, unit, upload

SETTINGS = FlowSettings()


def run(graph: Callable[[Any], Any], events: list[Any], *, trace: str | None = None) -> list[list[Any]]:
    """Run `graph` over `events` and return what came out of each of its streams."""
    keyed = [(getattr(event, "user_id", None) or event.video_id, received(event, trace=trace)) for event in events]
    flow = Dataflow("test")
    streams = graph(op.input("in", flow, TestingSource(keyed, batch_size=3)))
    outs: list[list[Any]] = [[] for _ in streams]
    for number, (stream, out) in enumerate(zip(streams, outs, strict=True)):
        op.output(f"out-{number}", stream, TestingSink(out))
    run_main(flow)
    return outs


# ── decoding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def message(payload: bytes | None, *, at: int = NOW, headers: list[tuple[str, bytes]] | None = None) -> Any:
    return KafkaSourceMessage(
        key=b"ann", value=payload, topic="interactions", headers=headers or [], latency=None, offset=7, partition=2,
        timestamp=(1, at),
    )  # fmt: skip


def test_bad_input_becomes_a_dead_letter_and_stops_nothing() -> None:
    decode = decoder(INTERACTIONS, "profile")
    good = interaction(1)
    out = decode([message(b"\xff\xfe"), message(encode(good)), message(None), message(encode(interaction(2, at=NOW - 10**12)))])
    [(_, bad), (key, received_event), (_, tombstone), (_, ancient)] = out
    assert (key, received_event.event) == ("ann", good)
    for letter, word in ((bad, "interactions:"), (tombstone, "tombstone"), (ancient, "7 days")):
        assert isinstance(letter, Send)
        assert letter.topic is DEAD_LETTERS
        assert word in letter.event.reason
        assert (letter.event.origin, letter.event.partition, letter.event.offset) == ("interactions", 2, 7)
    assert bad.event.payload == b"\xff\xfe"


def test_an_event_under_a_foreign_key_is_a_dead_letter_as_it_could_overtake_others_of_its_viewer() -> None:
    [(_, letter)] = decoder(INTERACTIONS, "profile")([message(encode(interaction(1, user="bob")))])
    assert isinstance(letter, Send)
    assert "expected the key to be the event's user_id, 'bob', got 'ann'" in letter.event.reason


def test_a_foreign_trace_context_is_left_behind() -> None:
    [(_, item)] = decoder(INTERACTIONS, "profile")([message(encode(interaction()), headers=[("traceparent", b"\xff\xfe")])])
    assert isinstance(item, Received)
    assert item.trace is None


def test_the_trace_context_comes_along() -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    [(_, item)] = decoder(INTERACTIONS, "profile")([message(encode(interaction()), headers=[("traceparent", trace.encode())])])
    assert isinstance(item, Received)
    assert item.trace == trace


# ── profile ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def profiled(events: list[Any], features: FeaturesInMemory | None = None) -> tuple[list[Any], list[Any]]:
    rows, stats = run(
        lambda stream: profile.graph(
            op.filter("interactions", stream, lambda keyed: not isinstance(keyed[1].event, Takedown)),
            op.filter("uploads", stream, lambda keyed: isinstance(keyed[1].event, Takedown)),
            videos=VideosInMemory(),
            features=features or FeaturesInMemory(),
            clock=lambda: NOW,
        ),
        events,
    )
    return rows, stats


def test_a_video_that_nobody_touches_for_days_leaves_statistics_and_features() -> None:
    now, features, videos = [NOW], FeaturesInMemory(), VideosInMemory()
    logic = profile.VideoLogic(None, videos, features, lambda: now[0])
    row, _ = logic.on_batch([Engaged("v1", "like", NOW, None, NOW)])[0]
    assert isinstance(row, VideoEngagement)
    features.write([row])
    del videos.known["v1"]
    assert logic.on_notify() == ([], False)
    now[0] = int(logic.notify_at().timestamp() * 1000)
    [tombstone, forget], done = logic.on_notify()
    assert done
    assert isinstance(tombstone, Send)
    assert (tombstone.topic, tombstone.key, tombstone.event) == (VIDEO_STATS, "v1", None)
    assert isinstance(forget, Forget)
    assert forget.purge() == {}
    assert features.rows == []


def test_interactions_become_features_of_viewers_and_statistics_of_videos() -> None:
    events = [interaction(n, "like", user=f"user{n % 2}", video="v1") for n in range(10)]
    rows, stats = profiled(events)
    newest = {row.user_id: row for row in rows if isinstance(row, UserActivity)}
    assert {user: row.likes for user, row in newest.items()} == {"user0": 5, "user1": 5}
    # What a viewer says again and again counts once for the video.
    engagement = [row for row in rows if isinstance(row, VideoEngagement)][-1]
    assert (engagement.video_id, engagement.likes) == ("v1", 2)
    assert stats[-1][1].topic is VIDEO_STATS
    assert stats[-1][1].event.likes == 2


def test_events_delivered_twice_change_nothing() -> None:
    events = [interaction(n, "like", video="v1") for n in range(5)]
    rows, stats = profiled(events + events)
    assert [row.likes for row in rows if isinstance(row, UserActivity)][-1] == 5
    assert stats[-1][1].event.likes == 1


def test_an_erased_viewer_leaves_no_row_behind_and_begins_anew() -> None:
    events = [interaction(1, "like"), Erasure(event_id="x", user_id="ann", occurred_at=NOW), interaction(2, "skip")]
    rows, _ = profiled(events)
    place = next(number for number, row in enumerate(rows) if isinstance(row, Forget))
    assert rows[place].cause == "x"
    after = [row for row in rows[place:] if isinstance(row, UserActivity)]
    assert [(row.likes, row.skips) for row in after] == [(0, 1)]


def test_a_takedown_takes_the_statistics_along_and_late_events_bring_none_back() -> None:
    features = FeaturesInMemory()
    logic = profile.VideoLogic(None, VideosInMemory(), features, lambda: NOW)
    like = Engaged("v1", "like", NOW, None, NOW)
    row, _ = logic.on_batch([like])[0]
    features.write([row])
    [tombstone, forget], _ = logic.on_batch([like, Takedown(event_id="t", video_id="v1", at=NOW)])
    assert isinstance(tombstone, Send)
    assert (tombstone.topic, tombstone.key, tombstone.event) == (VIDEO_STATS, "v1", None)
    assert isinstance(forget, Forget)
    assert forget.purge() == {"redis: VideoEngagement": 1, "video-stats topic": 1, "flow state: profile": 1}
    logic = profile.VideoLogic(logic.snapshot(), VideosInMemory(), features, lambda: NOW)
    assert logic.on_batch([like]) == ([], False)


# ── perceive ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class PerceiverInMemory:
    """The port `Perceiver`: a perception that says which stage made it."""

    model_version = "test-1"

    def __init__(self, *, away: int = 0) -> None:
        self.away = away

    def titles(self, uploads: list[Any]) -> list[Perception]:
        if self.away > 0:
            self.away -= 1
            raise PerceptionUnavailable("the encoder is away")
        return [self.perception(event, "title") for event in uploads]

    def frames(self, event: Any) -> Perception:
        return self.perception(event, "frames")

    def perception(self, event: Any, stage: Any) -> Perception:
        return Perception(
            video=event, stage=stage, summary=event.title, topics=(), embedding=pack_vector(unit(1)),
            model_version=self.model_version, perceived_at=NOW,
        )  # fmt: skip


def test_titles_are_published_at_once_with_the_trace_of_their_upload() -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    sends, rows = run(
        lambda stream: perceive.graph(
            stream, SETTINGS, perceiver=PerceiverInMemory(), features=FeaturesInMemory(), forget_media=lambda _: 0
        ),
        [upload(n) for n in range(40)],
        trace=trace,
    )
    assert [(send.topic, send.event.stage, send.trace) for _, send in sends] == [(PERCEPTIONS, "title", trace)] * 40
    assert {row.video_id for row in rows if isinstance(row, VideoContent)} == {f"v{n}" for n in range(40)}
    assert sum(len(row.events) for row in rows if isinstance(row, Readable)) == 40


# ── rerank ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class RankerInMemory:
    """The port `Ranker`: ranks by name; hears one wish in every text."""

    def __init__(self, *, away: int = 0) -> None:
        self.away = away

    def steer(self, texts: list[str]) -> list[tuple[Steer, ...]]:
        if self.away > 0:
            self.away -= 1
            raise PerceptionUnavailable("the encoder is away")
        return [(Steer(text=text, weight=1.0, embedding=b""),) for text in texts]

    def rank(self, request: Any, viewer: Any) -> Ranking:
        return Ranking(tuple(PlanItem(video_id=video_id, score=0.0) for video_id in sorted(request.pool)), "test-1")


def slate() -> Slate:
    item = SlateItem(video_id="v1", position=0, score=1.0, propensity=1.0, source="fresh", reason="")
    return Slate(request_id="r1", user_id="ann", items=(item,), served_at=NOW, pool=("v2", "v1"))


def reranked(events: list[Any], **more: Any) -> tuple[list[Any], list[Any]]:
    ports = {"ranker": RankerInMemory(), "viewers": FeaturesInMemory(), "budget": lambda: True} | more
    [sent] = run(lambda stream: [rerank.graph(stream, SETTINGS, videos=VideosInMemory(), clock=lambda: NOW, **ports)], events)
    return [item for item in sent if isinstance(item[1].event, Plan)], [send for _, send in sent if send.topic is not PLANS]


def test_an_instruction_becomes_a_plan_that_expires() -> None:
    instruction = Instruction(event_id="i", user_id="ann", text="more cooking", occurred_at=NOW)
    plans, _ = reranked([slate(), instruction])
    [(user, send)] = plans
    assert (user, send.topic) == ("ann", PLANS)
    assert [item.video_id for item in send.event.ranking] == ["v1", "v2"]
    assert [steer.text for steer in send.event.steering] == ["more cooking"]
    assert send.event.expires_at == NOW + SETTINGS.instruction_ttl_s * 1000


def test_a_plan_over_the_budget_is_not_made() -> None:
    skips = [interaction(n, "skip") for n in range(3)]
    assert reranked([slate(), *skips], budget=lambda: False)[0] == []
    assert len(reranked([slate(), *skips])[0]) == 1


def test_an_instruction_is_not_refused_by_the_budget() -> None:
    instruction = Instruction(event_id="i", user_id="ann", text="more cooking", occurred_at=NOW)
    assert len(reranked([slate(), instruction], budget=lambda: False)[0]) == 1


def test_a_viewer_with_nothing_to_rank_spends_no_budget() -> None:
    asked: list[int] = []

    def budget() -> bool:
        asked.append(1)
        return True

    assert reranked([interaction(n, "skip") for n in range(9)], budget=budget)[0] == []
    assert asked == []


def test_a_skip_streak_is_answered_once_within_the_rate_limit() -> None:
    events = [slate(), *(interaction(n, "skip") for n in range(9))]
    plans, _ = reranked(events)
    assert [send.event.trigger for _, send in plans] == ["skip streak"]


def test_rerank_forgets_an_erased_viewer_and_the_plan_goes_after_it_was_made() -> None:
    instruction = Instruction(event_id="i", user_id="ann", text="more cooking", occurred_at=NOW)
    erasure = Erasure(event_id="x", user_id="ann", occurred_at=NOW)
    ports = {"ranker": RankerInMemory(), "viewers": FeaturesInMemory(), "budget": lambda: True}
    [sent] = run(
        lambda stream: [rerank.graph(stream, SETTINGS, videos=VideosInMemory(), clock=lambda: NOW, **ports)],
        # A batch is three, so the plan is made before the erasure comes; the page after it was served before it.
        [slate(), instruction, interaction(1, "like"), erasure, slate(), interaction(2, "skip")],
    )
    sends = [send for _, send in sent]
    assert [(send.topic, send.event is None) for send in sends] == [
        (PLANS, False), (PLANS, True), (PURGES, False), (PURGES, False),
    ]  # fmt: skip
    assert {send.event.store: send.event.count for send in sends[2:]} == {"flow state: rerank": 1, "plans topic": 1}


def test_a_page_from_before_an_erasure_that_is_read_after_it_opens_nothing_again() -> None:
    now = [NOW]
    logic = rerank.RerankLogic(None, VideosInMemory(), RankerInMemory(), SETTINGS, lambda: True, lambda: now[0])
    _, done = logic.on_batch([received(Erasure(event_id="x", user_id="ann", occurred_at=NOW))])
    assert not done
    logic = rerank.RerankLogic(logic.snapshot(), VideosInMemory(), RankerInMemory(), SETTINGS, lambda: True, lambda: now[0])
    logic.on_batch([received(slate())])
    assert logic.state.user_id == ""
    at = logic.notify_at()
    assert at is not None
    now[0] = int(at.timestamp() * 1000)
    assert logic.on_notify() == ([], True)


def test_an_erasure_of_a_stranger_proves_that_there_was_nothing() -> None:
    _, proofs = reranked([Erasure(event_id="x", user_id="ann", occurred_at=NOW)])
    assert {send.event.store: send.event.count for send in proofs} == {"flow state: rerank": 0, "plans topic": 0}


def test_an_instruction_waits_for_the_encoder_and_is_not_forgotten() -> None:
    now = [NOW]
    logic = rerank.RerankLogic(None, VideosInMemory(), RankerInMemory(away=2), SETTINGS, lambda: True, lambda: now[0])
    instruction = Instruction(event_id="i", user_id="ann", text="more cooking", occurred_at=NOW)
    out, _ = logic.on_batch([received(slate()), received(instruction)])
    assert not list(out)
    logic = rerank.RerankLogic(
        logic.snapshot(), VideosInMemory(), RankerInMemory(away=1), SETTINGS, lambda: True, lambda: now[0]
    )
    tries = 0
    while not (out := list(logic.on_notify()[0])):
        at = logic.notify_at()
        assert at is not None
        now[0], tries = int(at.timestamp() * 1000), tries + 1
        assert tries < 5
    assert out[0].request.trigger == "instruction"


# ── feedback ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_page_and_what_was_done_with_it_become_feedback() -> None:
    now = [NOW]
    logic = feedback.FeedbackLogic(None, SETTINGS, lambda: now[0])
    events = [slate(), interaction(1, "like", video="v1", request_id="r1"), interaction(2, "play", video="v5")]
    out, done = logic.on_batch([received(event) for event in events])
    assert (list(out), done) == ([], False)
    logic = feedback.FeedbackLogic(logic.snapshot(), SETTINGS, lambda: now[0])
    at = logic.notify_at()
    assert at is not None
    now[0] = int(at.timestamp() * 1000)
    [made], done = logic.on_notify()
    assert done
    assert made.items[0].actions == ("like",)


def test_features_go_from_the_slate_into_the_log_and_stay_when_another_viewer_is_erased(tmp_path: Path) -> None:
    now, log = [NOW], FeedbackLog(tmp_path)
    for user, packed in (("ann", b"\x00\x3c" * 36), ("bob", b"\x00\x40" * 36)):
        item = structs.replace(slate().items[0], features=packed)
        page = structs.replace(slate(), request_id=f"r-{user}", user_id=user, items=(item,), features_version=1)
        logic = feedback.FeedbackLogic(None, SETTINGS, lambda: now[0])
        # As it comes off the wire, and over a restart.
        logic.on_batch([received(decode(SLATES, encode(page)))])
        logic = feedback.FeedbackLogic(logic.snapshot(), SETTINGS, lambda: now[0])
        now[0] += int(SETTINGS.feedback_max_s * 1000)
        [made], _ = logic.on_notify()
        now[0] = NOW
        log.add([decode(FEEDBACK, encode(made))])
    assert log.erase("user_id", "ann") == 1
    [row] = log.read().to_pylist()
    assert (row["user_id"], row["features"], row["features_version"]) == ("bob", b"\x00\x40" * 36, 1)


def test_feedback_opens_no_page_from_before_an_erasure_and_forgets_even_that_in_time() -> None:
    now = [NOW]
    logic = feedback.FeedbackLogic(None, SETTINGS, lambda: now[0])
    erasure = Erasure(event_id="x", user_id="ann", occurred_at=NOW)
    out, done = logic.on_batch([received(erasure), received(slate()), received(interaction(1, "like", request_id="r2"))])
    assert ([type(item) for item in out], done) == ([Forget], False)
    assert logic.state.slates == {}
    logic = feedback.FeedbackLogic(logic.snapshot(), SETTINGS, lambda: now[0])
    at = logic.notify_at()
    assert at is not None
    now[0] = int(at.timestamp() * 1000)
    assert logic.on_notify() == ([], True)


def test_feedback_forgets_the_open_pages_of_an_erased_viewer() -> None:
    [out] = run(
        lambda stream: [feedback.graph(stream, SETTINGS)],
        [slate(), Erasure(event_id="x", user_id="ann", occurred_at=NOW)],
    )
    assert [item.purge() for _, item in out] == [{"flow state: feedback": 1}]


def test_the_json_of_a_page_is_readable_by_any_client() -> None:
    assert json.loads(encode(slate()))["items"][0]["propensity"] == 1.0
