"""Slates and interactions become feedback, each slate once."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from streams.codec import decode, encode
from streams.events import ACTIONS, Slate, SlateItem
from streams.settings import FlowSettings
from streams.state.attribution import Attribution
from streams.state.rewards import REWARDS, reward
from streams.topics import FEEDBACK, SLATES
from tests.streams.world import NOW, interaction

SETTINGS = FlowSettings()
SILENCE = int(SETTINGS.feedback_silence_s * 1000)


def slate(request_id: str = "r1", videos: int = 3, *, live: bool = False, served_at: int = NOW) -> Slate:
    items = tuple(
        SlateItem(
            video_id=f"v{n}", position=n, score=1.0, propensity=0.5, source="fresh", reason="", live=live, duration_ms=10_000
        )
        for n in range(videos)
    )
    return Slate(request_id=request_id, user_id="ann", items=items, served_at=served_at)


def test_an_interaction_is_attributed_to_its_place_on_its_page() -> None:
    state = Attribution()
    state.on_slate(slate(), NOW, SETTINGS)
    state.on_interaction(interaction(1, "like", video="v1", request_id="r1"), NOW + 1000, SETTINGS)
    state.on_interaction(interaction(2, "like", video="v1", request_id="another"), NOW + 1000, SETTINGS)
    [feedback] = state.close(NOW + 1000 + SILENCE, SETTINGS)
    assert [item.actions for item in feedback.items] == [(), ("like",), ()]
    assert feedback.items[1].reward == REWARDS["like"]
    assert [item.propensity for item in feedback.items] == [0.5, 0.5, 0.5]


def test_the_feedback_of_the_largest_page_is_no_larger_than_an_event_may_be() -> None:
    # Each character of these ids is six in JSON.
    items = tuple(
        SlateItem(
            video_id="\x01" * 125 + f"{n:03}", position=n, score=1.0, propensity=1 / 3, source="\x01" * 64, reason="",
            duration_ms=10_000, features=b"\xff" * 128,
        )
        for n in range(500)
    )  # fmt: skip
    page = Slate(request_id="r1", user_id="ann", items=items, served_at=NOW, features_version=1)
    assert decode(SLATES, encode(page)) == page
    state = Attribution()
    state.on_slate(page, NOW, SETTINGS)
    for n, item in enumerate(items):
        for action in ACTIONS:
            event = interaction(0, action, video=item.video_id, request_id="r1", watch_ms=9_999)
            state.on_interaction(structs.replace(event, event_id=f"{n}-{action}"), NOW, SETTINGS)
    [made] = state.close(NOW + SILENCE, SETTINGS)
    assert len(made.items[499].actions) == len(ACTIONS)
    assert decode(FEEDBACK, encode(made)) == made


def test_an_interaction_that_came_before_its_slate_is_not_lost() -> None:
    state = Attribution()
    state.on_interaction(interaction(1, "complete", video="v2", request_id="r1"), NOW, SETTINGS)
    state.on_slate(slate(), NOW + 5, SETTINGS)
    [feedback] = state.close(NOW + 5 + SILENCE, SETTINGS)
    assert feedback.items[2].actions == ("complete",)


def test_a_window_closes_after_silence_and_each_interaction_extends_it() -> None:
    state = Attribution()
    state.on_slate(slate(), NOW, SETTINGS)
    state.on_interaction(interaction(1, "play", request_id="r1"), NOW + SILENCE - 1, SETTINGS)
    assert state.close(NOW + SILENCE, SETTINGS) == []
    assert state.next_close(SETTINGS) == NOW + 2 * SILENCE - 1
    assert len(state.close(NOW + 2 * SILENCE - 1, SETTINGS)) == 1
    assert state.next_close(SETTINGS) is None


def test_what_comes_after_a_window_changes_nothing_however_late_it_closes() -> None:
    prompt, late = Attribution(), Attribution()
    for state in (prompt, late):
        state.on_slate(slate(), NOW, SETTINGS)
        state.on_interaction(interaction(1, "play", request_id="r1"), NOW + 1000, SETTINGS)
    [first] = prompt.close(NOW + 1000 + SILENCE, SETTINGS)
    late.on_interaction(interaction(2, "like", request_id="r1"), NOW + 1000 + SILENCE, SETTINGS)
    [again] = late.close(NOW + 3 * SILENCE, SETTINGS)
    assert again == first


def test_a_window_never_outlasts_ten_minutes() -> None:
    state = Attribution()
    state.on_slate(slate(), NOW, SETTINGS)
    end = NOW + int(SETTINGS.feedback_max_s * 1000)
    for number, at in enumerate(range(NOW, end, 30_000)):
        state.on_interaction(interaction(number, "progress", request_id="r1"), at, SETTINGS)
    assert len(state.close(end, SETTINGS)) == 1


def test_a_live_room_closes_its_page_sooner() -> None:
    state = Attribution()
    state.on_slate(slate(live=True), NOW, SETTINGS)
    assert len(state.close(NOW + int(SETTINGS.feedback_live_silence_s * 1000), SETTINGS)) == 1


@given(st.lists(st.tuples(st.sampled_from(["slate", "like", "skip"]), st.integers(0, 4), st.integers(0, 100)), max_size=30))
def test_every_slate_has_exactly_one_feedback(steps) -> None:
    state, opened, closed, now = Attribution(), set(), [], NOW
    for number, (kind, request, wait) in enumerate(steps):
        now += wait * 1000
        if kind == "slate":
            opened.add(f"r{number}")
            state.on_slate(slate(f"r{number}", served_at=now), now, SETTINGS)
            state.on_slate(slate(f"r{number}", served_at=now), now, SETTINGS)
        else:
            state.on_interaction(interaction(number, kind, request_id=f"r{request}"), now, SETTINGS)
        closed += state.close(now, SETTINGS)
    closed += state.close(now + 24 * 3_600_000, SETTINGS)
    assert sorted(feedback.request_id for feedback in closed) == sorted(opened)
    assert state.is_empty()


def test_a_place_nobody_saw_earns_nothing() -> None:
    assert reward((), watch_ms=0, duration_ms=10_000) == (0, {})


def test_watching_half_earns_half_and_the_end_of_a_video_is_not_counted_twice() -> None:
    assert reward(("play",), watch_ms=5_000, duration_ms=10_000) == (0.5, {"watch": 0.5})
    assert reward(("complete",), watch_ms=10_000, duration_ms=10_000) == (1.0, {"complete": 1.0})


@given(st.sets(st.sampled_from(sorted(REWARDS))), st.integers(0, 100_000), st.none() | st.integers(1, 100_000))
def test_the_parts_add_up_to_the_reward(actions, watch_ms, duration_ms) -> None:
    value, parts = reward(tuple(actions), watch_ms=watch_ms, duration_ms=duration_ms)
    assert value == sum(parts.values())
