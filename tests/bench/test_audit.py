"""The audit after a crash: it would see what is lost, what counts twice, and what is wrong."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import audit
from bench.samples import MB, Sample, by_window, growth_mb_per_h
from bench.traffic import Ledger
from simulation.client import Page
from streams.codec import encode
from streams.events import DeadLetter, Feedback, Interaction, Outcome, Slate, SlateItem
from streams.flows.feedback_log import FeedbackLog
from streams.follower import Followed
from streams.kafka import KafkaSettings
from streams.settings import FlowSettings
from streams.state.engagement import Engaged, VideoEngagementState
from streams.topics import INTERACTIONS, SLATES

NOW = 1_790_000_000_000
SETTINGS = FlowSettings(feedback_silence_s=10.0)


def event(number: int, action: str, *, user: str = "ann", video: str = "v1", at: int = NOW, request: str | None = "r1"):
    return Interaction(
        event_id=f"e{number}",
        user_id=user,
        video_id=video,
        action=action,
        occurred_at=at,
        request_id=request,  # type: ignore[arg-type]
    )


def topics(*entries: tuple[Slate | Interaction, int]) -> audit.Topics:
    made = audit.Topics(KafkaSettings(bootstrap_servers="127.0.0.1:9"))
    for each, at in entries:
        topic = SLATES if isinstance(each, Slate) else INTERACTIONS
        made.events[topic].append(Followed(topic, each.user_id, each, at))
    return made


def slate() -> Slate:
    item = SlateItem(video_id="v1", position=0, score=1.0, propensity=1.0, source="fresh", reason="")
    return Slate(request_id="r1", user_id="ann", items=(item,), served_at=NOW)


def feedback(actions: Sequence[str]) -> Feedback:
    outcome = Outcome(
        video_id="v1", position=0, propensity=1.0, source="fresh", actions=tuple(actions), watch_ms=0, reward=0.0, parts={}
    )
    return Feedback(request_id="r1", user_id="ann", items=(outcome,), served_at=NOW, closed_at=NOW)


def test_an_event_that_is_missing_is_lost_and_one_too_many_is_doubled() -> None:
    expected = audit.viewers_of([event(1, "like"), event(2, "play"), event(3, "play", user="bob")])
    assert expected["ann"] == {"events": 2, "impressions": 0, "plays": 1, "completes": 0, "likes": 1, "skips": 0}
    assert audit.difference(expected, expected) == audit.Difference(0, 0)
    found = {"ann": expected["ann"] | {"events": 1, "likes": 0}, "bob": expected["bob"] | {"events": 2}}
    seen = audit.difference(expected, found)
    assert (seen.lost, seen.doubled) == (2, 1)
    assert "ann: likes 0, not 1" in seen.examples


def test_the_counts_of_a_video_are_those_of_the_flow() -> None:
    events = [event(n, "like", user=f"u{n % 3}", at=NOW + n * 3_600_000) for n in range(6)]
    events += [event(9, "impression", user="u0", at=NOW + 7_200_000), event(10, "impression", user="u0", at=NOW + 7_200_001)]
    state, counted = VideoEngagementState(), set()
    for each in events:
        if (each.user_id, each.action) not in counted:
            counted.add((each.user_id, each.action))
            state.apply(Engaged(each.video_id, each.action, each.occurred_at, None, each.occurred_at))
    stats = state.stats("v1")
    [expected] = audit.videos_of(events).values()
    assert expected["likes"] == pytest.approx(stats.likes)
    assert expected["impressions"] == pytest.approx(stats.impressions)
    assert expected["total_impressions"] == stats.total_impressions == 1


def test_what_became_of_a_page_is_what_the_broker_had_within_its_window() -> None:
    seen = topics(
        (event(1, "play"), NOW - 5),
        (slate(), NOW),
        (event(2, "like"), NOW + 9_999),
        (event(2, "like"), NOW + 19_000),
        (event(3, "share"), NOW + 19_999),
    )
    expected = audit.outcomes(seen, SETTINGS)
    assert expected == {"r1": {"v1": (frozenset({"play", "like"}), 0)}}
    assert audit.wrong({"r1": [feedback(["like", "play"])]}, expected) == []
    [said] = audit.wrong({"r1": [feedback(["like", "play"]), feedback(["play"])]}, expected)
    assert said.startswith("r1: 1 actions missing, 0 too many")


def test_a_served_page_that_the_broker_does_not_have_is_told() -> None:
    ledger = Ledger(pages={"r1": Page(request_id="r1", user_id="ann", items=())})
    assert audit.expected_pages(ledger, topics((slate(), NOW)).slates()) == []
    assert audit.expected_pages(ledger, {}) == ["r1"]


def test_a_page_that_is_in_the_log_twice_is_told(tmp_path: Path) -> None:
    assert audit.log_rows(tmp_path) == {}
    log = FeedbackLog(tmp_path)
    log.add([feedback(["like"])])
    assert audit.log_rows(tmp_path) == {"r1": 1}
    log.add([feedback(["like"])])
    assert audit.log_rows(tmp_path) == {"r1": 2}


def test_a_dead_letter_of_good_input_has_no_cause() -> None:
    def letter(payload: bytes) -> DeadLetter:
        return DeadLetter(origin="interactions", partition=0, offset=1, reason="?", payload=payload, failed_at=NOW)

    assert audit.causeless([letter(b"{}"), letter(encode(event(1, "like", at=NOW - 10**12)))]) == []
    assert audit.causeless([letter(encode(event(1, "like")))]) == ["interactions/0/1: ?"]


def test_growth_is_that_of_most_of_the_time() -> None:
    sizes = [100.0 + minute / 60 * 6 for minute in range(60)]
    sizes[30] += 500.0
    samples = [Sample(minute * 60.0, "api", int(size * MB), 0, 0.0) for minute, size in enumerate(sizes)]
    slope, low = growth_mb_per_h(samples)
    assert slope == pytest.approx(6.0, abs=0.1)
    assert low > 5.0


def test_values_are_told_by_their_window() -> None:
    assert by_window([(1.0, 5.0), (301.0, 7.0), (2.0, 6.0)], 300.0) == {0: [5.0, 6.0], 1: [7.0]}
