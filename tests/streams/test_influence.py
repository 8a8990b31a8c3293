"""What one viewer can do to a video's statistics, whatever is sent."""

from hypothesis import given
from hypothesis import strategies as st

from streams.codec import MAX_AGE_MS, MAX_AHEAD_MS
from streams.events import ACTIONS, VideoStats
from streams.state.engagement import Engaged, VideoEngagementState
from streams.state.influence import ROW_BYTES, VIDEOS_KEPT, WINDOW_MS, Influence
from streams.state.snapshot import dump, load
from streams.state.viewer import Viewer
from tests.streams.world import NOW, VideosInMemory, interaction

COUNTS = ("impressions", "plays", "completions", "likes", "shares", "comments", "skips", "reports")
# Two windows may touch, the next two are a day apart, and so on, each count half after a day: 2 · (1 + ½ + ¼ + …).
DECAYED_BOUND = 4.0

# What somebody may send: an action, how long after the one before the broker gets it, and when it is said to have happened.
sent = st.lists(
    st.tuples(
        st.sampled_from(ACTIONS), st.integers(0, WINDOW_MS // 3), st.integers(-MAX_AGE_MS, MAX_AHEAD_MS), st.integers(0, 9_999)
    ),
    max_size=60,
)


def counted(rows: list[tuple[str, int, int, int]], *, resumed: bool = False) -> tuple[VideoStats, int]:
    """Return the statistics of a video after one viewer's events, and how many windows these fell into."""
    viewer, videos, engagement = Viewer(), VideosInMemory(), VideoEngagementState()
    received_at, windows, began_at = NOW, 0, 0
    for number, (action, later, told, watch_ms) in enumerate(rows):
        received_at += later
        event = interaction(number, action, video="v1", at=received_at + told, watch_ms=watch_ms)
        for engaged in viewer.apply([event], videos, received_at)[1]:
            engagement.apply(engaged)
        if viewer.influence.began_at != began_at:
            began_at, windows = viewer.influence.began_at, windows + 1
        if resumed:
            viewer = load(Viewer, dump(viewer))
    return engagement.stats("v1"), windows


@given(sent)
def test_one_viewer_moves_each_count_of_a_video_by_one_a_day_at_most(rows) -> None:
    stats, windows = counted(rows)
    assert all(0.0 <= getattr(stats, name) <= min(windows, DECAYED_BOUND) + 1e-9 for name in COUNTS)
    assert stats.total_impressions <= windows


@given(sent)
def test_what_counted_is_remembered_over_a_restart(rows) -> None:
    assert counted(rows) == counted(rows, resumed=True)


def test_a_hundred_thousand_events_of_one_viewer_are_one_of_each() -> None:
    rows = [(ACTIONS[number % len(ACTIONS)], 0, 0, 5_000) for number in range(100_000)]
    stats, _ = counted(rows)
    assert all(getattr(stats, name) == 1.0 for name in COUNTS if name != "likes")
    assert stats.likes in (0.0, 1.0)
    assert stats.total_impressions == 1


def test_going_round_more_videos_than_are_remembered_counts_none_of_them_twice() -> None:
    influence = Influence()
    admitted = [influence.admit(f"v{number}", "play", NOW, NOW) for _ in range(3) for number in range(VIDEOS_KEPT + 500)]
    assert sum(at is not None for at in admitted) == VIDEOS_KEPT
    assert len(influence.videos) == VIDEOS_KEPT * ROW_BYTES
    assert influence.admit(f"v{VIDEOS_KEPT + 1}", "play", NOW, NOW + WINDOW_MS) == NOW


def test_a_like_is_a_state_and_taking_it_back_leaves_nothing() -> None:
    influence, state = Influence(), VideoEngagementState()
    for number, action in enumerate(["unlike", "like", "like", "unlike", "unlike", "like", "unlike"]):
        at = influence.admit("v1", action, NOW + number * 3_600_000, NOW)
        if at is not None:
            state.apply(Engaged("v1", action, at, None, NOW))
    assert state.stats("v1").likes < 1e-9
