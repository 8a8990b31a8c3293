"""Mutated events into every topic, in memory: a small run of what `python -m bench.fuzz` does a million times."""

import pytest

from bench.fuzz import fuzz, targets
from bench.mutations import Mutator
from streams.codec import BadEvent
from streams.follower import Followed, followed, hand_over
from streams.topics import PLANS, TOPICS, VIDEO_STATS

EVENTS = 1_500


@pytest.mark.parametrize("target", targets())
def test_hostile_events_are_taken_in_or_refused_and_every_one_is_counted(target: str) -> None:
    ran = fuzz(target, EVENTS, seed=7)
    assert ran.faults == []
    assert set(ran.sent.values()) == {EVENTS}
    for topic, sent in ran.sent.items():
        assert ran.accepted[topic] + ran.refused[topic] == sent
        # Neither a wall that nothing passes nor a door that stands open: both would test nothing.
        assert sent / 5 < ran.accepted[topic] < 4 * sent / 5


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_seed_sends_the_same_each_time(topic) -> None:
    one, two = Mutator(topic, 3, now_ms=1_800_000_000_000), Mutator(topic, 3, now_ms=1_800_000_000_000)
    assert [one.next() for _ in range(50)] == [two.next() for _ in range(50)]


@pytest.mark.parametrize(
    ("topic", "payload", "said"),
    [
        (VIDEO_STATS, b'{"type":"VideoStats","video_id":"v","as_of":1,"total_impressions":4294967296}', "total_impressions"),
        (VIDEO_STATS, b'{"type":"VideoStats","video_id":"v","as_of":1,"likes":-1}', "likes"),
        (VIDEO_STATS, b'{"type":"VideoStats","video_id":"w","as_of":1}', "key to be the event's video_id, 'w', got 'v'"),
        (PLANS, b'{"type":"Plan","user_id":"v","trigger":"t","created_at":1,"expires_at":2,"steering":'
                b'[{"text":"x","weight":1,"embedding":"AAA="}]}', "768 bytes"),
    ],
)  # fmt: skip
def test_what_would_poison_a_compacted_topic_is_refused_by_its_readers(topic, payload: bytes, said: str) -> None:
    with pytest.raises(BadEvent, match=said):
        followed(topic, payload, b"v", 1)


def test_an_event_that_memory_can_not_take_in_costs_that_event_alone() -> None:
    taken: list[str] = []
    skipped: list[tuple[str, str]] = []

    def take(batch: list[Followed]) -> None:
        for one in batch:
            if one.key == "bad":
                raise OverflowError("too large")
            taken.append(one.key)

    batch = [Followed(VIDEO_STATS, key, None, 0) for key in ("a", "bad", "b")]
    hand_over(take, batch, lambda one, error: skipped.append((one.key, str(error))))
    assert set(taken) == {"a", "b"}
    assert skipped == [("bad", "too large")]
