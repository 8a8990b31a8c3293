"""The synthetic world of the benches: what each promise is measured on."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from bench import world
from streams.codec import decode, encode
from streams.topics import INTERACTIONS, PERCEPTIONS, VIDEO_STATS


def test_the_same_seed_makes_the_same_load() -> None:
    first, second = (list(world.make(50, seed=3).interactions(20, 500)) for _ in range(2))
    assert [(e.event_id, e.user_id, e.video_id, e.action) for e in first] == [
        (e.event_id, e.user_id, e.video_id, e.action) for e in second
    ]


def test_every_event_passes_the_edge() -> None:
    made = world.make(50)
    for topic, events in [
        (PERCEPTIONS, made.perceptions()),
        (VIDEO_STATS, made.stats()),
        (INTERACTIONS, made.interactions(10, 200)),
    ]:
        for event in events:
            assert decode(topic, encode(event)) == event


def test_most_events_of_a_poll_are_of_different_viewers() -> None:
    poll = Counter(event.user_id for event in world.make(100).interactions(20_000, 1_000))
    assert len(poll) > 950


def test_a_viewer_goes_through_one_video_after_another() -> None:
    of_one = [event for event in world.make(100).interactions(3, 300) if event.user_id.endswith("viewer-0")]
    changes = [after.action for before, after in pairwise(of_one) if before.video_id != after.video_id]
    assert set(changes) == {"impression"}


def test_videos_lie_around_their_topics() -> None:
    made = world.make(2_000)
    assert np.allclose(np.linalg.norm(made.embeddings, axis=1), 1.0, atol=1e-5)
    same = made.topic_of == made.topic_of[0]
    similar = made.embeddings @ made.embeddings[0]
    assert similar[same][1:].mean() == pytest.approx(0.5, abs=0.1)
    assert abs(similar[~same].mean()) < 0.1
