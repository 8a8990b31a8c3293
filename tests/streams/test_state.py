"""The plain objects: decay, duplicates, history, sessions, interests, engagement."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.settings import ApiSettings
from streams.events import ACTIONS
from streams.state import history as history_module
from streams.state import recent_ids
from streams.state.decay import Decay
from streams.state.digests import DIGEST_BYTES
from streams.state.engagement import HALF_LIFE_MS, Engaged, VideoEngagementState
from streams.state.history import History
from streams.state.interests import SHORT_HALF_LIFE_MS, Interests
from streams.state.recent_ids import RecentIds
from streams.state.session import GAP_MS, Session
from streams.state.snapshot import dump, load
from streams.state.viewer import Viewer
from tests.streams.world import NOW, VideosInMemory, interaction, unit

HOUR = 3_600_000
LATEST = NOW + 48 * HOUR
events = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from(ACTIONS), st.integers(0, 9), st.integers(0, 48 * HOUR)), max_size=40
).map(lambda rows: [interaction(n, action, video=f"v{video}", at=NOW + at) for n, action, video, at in rows])


def test_a_half_life_halves() -> None:
    decay = Decay(HOUR)
    decay.rebase(NOW)
    assert decay.value(decay.gain(NOW), NOW + HOUR) == pytest.approx(0.5)
    assert decay.value(decay.gain(NOW), NOW + 3 * HOUR) == pytest.approx(0.125)


@given(st.lists(st.integers(0, 200 * HOUR), min_size=1, max_size=20), st.randoms())
def test_decayed_sums_do_not_care_about_order(offsets: list[int], shuffle) -> None:
    def total(order: list[int]) -> float:
        decay, amount = Decay(HOUR), 0.0
        for offset in order:
            amount *= decay.rebase(NOW + offset)
            amount += decay.gain(NOW + offset)
        return decay.value(amount, NOW + 200 * HOUR)

    shuffled = list(offsets)
    shuffle.shuffle(shuffled)
    expected = sum(0.5 ** ((200 * HOUR - offset) / HOUR) for offset in offsets)
    assert total(offsets) == pytest.approx(expected)
    assert total(shuffled) == pytest.approx(expected)


def test_a_year_of_silence_neither_overflows_nor_revives() -> None:
    interests = Interests()
    interests.add(unit(1), ("music",), 1.0, NOW)
    interests.add(unit(2), ("cooking",), 1.0, NOW + 365 * 24 * HOUR)
    assert np.all(np.isfinite(interests.short.total))
    assert float(interests.short.unit() @ unit(2)) == pytest.approx(1.0, abs=1e-4)
    assert interests.top_topics() == ["cooking", "music"]


@given(st.lists(st.integers(0, 20)))
def test_only_the_first_of_an_id_is_new(numbers: list[int]) -> None:
    ids, seen = RecentIds(), set()
    for number in numbers:
        assert ids.is_new(f"e{number}") == (number not in seen)
        seen.add(number)


def test_memory_of_ids_is_bounded() -> None:
    ids = RecentIds()
    for number in range(3 * recent_ids.KEPT):
        ids.is_new(f"e{number}")
    assert len(ids.seen) == recent_ids.KEPT * DIGEST_BYTES


def test_the_largest_request_sent_again_counts_once() -> None:
    largest = ApiSettings.model_fields["max_batch"].default
    viewer, videos = Viewer(), VideosInMemory()
    batch = [interaction(n, "play") for n in range(largest)]
    assert viewer.apply(batch, videos, NOW)[0] == largest
    assert viewer.apply(batch, videos, NOW) == (0, [])


@given(events)
def test_a_viewer_is_the_same_whether_events_come_once_or_twice(interactions) -> None:
    videos, once, twice = VideosInMemory(), Viewer(), Viewer()
    once.apply(interactions, videos, LATEST)
    for event in interactions:
        twice.apply([event, event], videos, LATEST)
    assert once.counts == twice.counts
    assert dump(once) == dump(twice)


@given(events)
def test_a_viewer_survives_a_snapshot_anywhere(interactions) -> None:
    videos, whole, resumed = VideosInMemory(), Viewer(), Viewer()
    whole.apply(interactions, videos, LATEST)
    for event in interactions:
        resumed = load(Viewer, dump(resumed))
        resumed.apply([event], videos, LATEST)
    assert dump(whole) == dump(resumed)


def test_a_duplicate_like_counts_once() -> None:
    viewer = Viewer()
    new, counted = viewer.apply([interaction(1, "like"), interaction(1, "like")], VideosInMemory(), NOW)
    assert (new, len(counted)) == (1, 1)
    assert viewer.rows("ann")[0].likes == 1


def test_an_interest_waits_for_its_video_to_be_perceived() -> None:
    videos = VideosInMemory(count=0)
    viewer = Viewer()
    viewer.apply([interaction(1, "like", video="v3")], videos, NOW)
    assert viewer.rows("ann")[1].long_weight == 0.0
    videos.known["v3"] = VideosInMemory.video(3)
    viewer.apply([interaction(2, "impression", video="v4")], videos, NOW)
    assert float(viewer.rows("ann")[1].long @ unit(3)) == pytest.approx(1.0, abs=1e-4)


@settings(max_examples=30)
@given(st.integers(1, 500))
def test_a_history_keeps_the_last_200_videos_newest_last(count: int) -> None:
    history = History()
    for number in range(count):
        history.apply(interaction(number, video=f"v{number}", at=NOW + number), None)
    assert list(history.videos) == [f"v{n}" for n in range(max(0, count - history_module.KEPT), count)]


@pytest.mark.parametrize(
    ("actions", "weight"),
    [
        (("play", "complete", "like"), 1.0),
        (("like", "skip"), 1.0),
        (("skip", "like"), 1.0),
        (("like", "not_interested"), -1.0),
        (("like", "unlike"), 0.0),
        (("impression",), 0.0),
    ],
)
def test_the_stronger_word_on_a_video_wins(actions: tuple[str, ...], weight: float) -> None:
    history = History()
    for number, action in enumerate(actions):
        history.apply(interaction(number, action), "bob")
    assert history.videos["v0"].weight == weight


def test_following_and_reporting_are_about_the_author() -> None:
    history = History()
    history.apply(interaction(1, "follow"), "bob")
    assert list(history.followed) == ["bob"]
    history.apply(interaction(2, "report"), "bob")
    assert list(history.followed) == []
    assert list(history.blocked) == ["bob"]


def test_a_long_pause_or_a_new_id_begins_a_session() -> None:
    session = Session()
    session.apply(interaction(1, "skip", at=NOW))
    session.apply(interaction(2, "skip", at=NOW + GAP_MS))
    assert (session.events, session.skip_streak) == (2, 2)
    session.apply(interaction(3, "play", at=NOW + 2 * GAP_MS + 1))
    assert (session.events, session.skip_streak) == (1, 0)
    session.apply(interaction(4, "play", at=NOW + 2 * GAP_MS + 2, session_id="s2"))
    assert (session.session_id, session.events) == ("s2", 1)


def test_short_interests_forget_an_hour_ago_and_long_ones_do_not() -> None:
    interests = Interests()
    for _ in range(5):
        interests.add(unit(1), ("music",), 1.0, NOW)
    interests.add(unit(2), ("cooking",), 1.0, NOW + 4 * SHORT_HALF_LIFE_MS)
    assert float(interests.short.unit() @ unit(2)) > 0.9
    assert float(interests.long.unit() @ unit(1)) > 0.9


def test_what_is_disliked_pushes_away() -> None:
    interests = Interests()
    interests.add(unit(1), ("music",), -1.0, NOW)
    assert float(interests.long.unit() @ unit(1)) == pytest.approx(-1.0, abs=1e-4)
    assert interests.top_topics() == []


def test_engagement_decays_but_the_impression_count_does_not() -> None:
    state = VideoEngagementState()
    state.apply(Engaged("v0", "impression", NOW, None, NOW))
    state.apply(Engaged("v0", "like", NOW + HALF_LIFE_MS, None, NOW))
    stats = state.stats("v0")
    assert stats.impressions == pytest.approx(0.5)
    assert stats.likes == pytest.approx(1.0)
    assert stats.total_impressions == 1


def test_a_taken_back_like_leaves_none() -> None:
    state = VideoEngagementState()
    for action in ("like", "unlike", "unlike"):
        state.apply(Engaged("v0", action, NOW, None, NOW))
    assert state.stats("v0").likes == 0.0


def test_watch_share_is_the_mean_of_what_was_watched() -> None:
    state = VideoEngagementState()
    for share in (1.0, 0.5, None):
        state.apply(Engaged("v0", "play", NOW, share, NOW))
    assert state.stats("v0").watch_share == pytest.approx(0.75)


def test_events_of_a_clock_that_ran_ahead_do_not_outweigh_what_comes_after_it_was_set_back() -> None:
    years = 10 * 365 * 86_400_000
    viewer, video, videos = Viewer(), VideoEngagementState(), VideosInMemory()
    for number, at in ((1, NOW + years), (2, NOW)):
        _, engaged = viewer.apply([interaction(number, "like", video=f"v{number}", at=at)], videos, at)
        for each in engaged:
            video.apply(each)
    activity, interests, history = viewer.rows("ann")
    assert max(row.as_of for row in (activity, interests, history)) == NOW
    assert max(history.seen_at) == NOW
    # Both likes count alike: the first as just before the second.
    assert interests.short @ unit(1) == pytest.approx(interests.short @ unit(2), abs=0.1)
    assert interests.short @ unit(2) > 0.5
    assert video.stats("v").likes == pytest.approx(2.0)
    assert video.stats("v").as_of == NOW
