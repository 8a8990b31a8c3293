"""When a viewer deserves a plan."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from streams.events import Instruction, Slate, Steer
from streams.settings import FlowSettings
from streams.state.triggers import THIN_EVERY, Triggers
from tests.streams.world import NOW, VideosInMemory, interaction

SETTINGS = FlowSettings()
WISH = (Steer(text="cooking", weight=1.0, embedding=b""),)


def ready() -> Triggers:
    triggers = Triggers(watched=100)
    triggers.on_slate(Slate(request_id="r", user_id="ann", items=(), served_at=NOW, pool=("v1", "v2")))
    return triggers


def test_a_new_viewer_is_planned_for_every_three_events() -> None:
    triggers = ready()
    triggers.watched = 0
    for number in range(THIN_EVERY):
        assert triggers.due == ""
        triggers.on_interaction(interaction(number, "play"), None)
    assert triggers.due == "thin history"


def test_three_skips_in_a_row_are_a_trigger_and_a_like_between_breaks_the_row() -> None:
    triggers = ready()
    for number, action in enumerate(["skip", "skip", "like", "skip", "skip"]):
        triggers.on_interaction(interaction(number, action), None)
        assert triggers.due == ""
    triggers.on_interaction(interaction(9, "skip"), None)
    assert triggers.due == "skip streak"


def test_liking_something_unlike_the_rest_is_a_trigger() -> None:
    triggers, videos = ready(), VideosInMemory()
    triggers.on_interaction(interaction(1, "like", video="v1"), videos.get("v1"))
    triggers.on_interaction(interaction(2, "like", video="v1"), videos.get("v1"))
    assert triggers.due == ""
    triggers.on_interaction(interaction(3, "like", video="v2"), videos.get("v2"))
    assert triggers.due == "new taste"


def test_an_instruction_is_due_at_once_and_steers_until_it_expires() -> None:
    triggers = ready()
    triggers.planned_at = NOW
    instruction = Instruction(event_id="i1", user_id="ann", text="more cooking", occurred_at=NOW)
    triggers.on_instruction(instruction, WISH, ttl_ms=1000)
    assert triggers.allowed_at(SETTINGS) == 0
    first = triggers.request("ann", NOW)
    assert first is not None
    assert (first.trigger, first.steering, first.pool) == ("instruction", WISH, ("v1", "v2"))
    triggers.due = "skip streak"
    late = triggers.request("ann", NOW + 1000)
    assert late is not None
    assert first.steering_until == NOW + 1000
    assert (late.steering, late.steering_until) == ((), 0)


def test_the_same_instruction_twice_is_heard_once() -> None:
    triggers = ready()
    instruction = Instruction(event_id="i1", user_id="ann", text="more cooking", occurred_at=NOW)
    triggers.on_instruction(instruction, WISH, ttl_ms=1000)
    triggers.request("ann", NOW)
    triggers.on_instruction(instruction, WISH, ttl_ms=1000)
    assert triggers.due == ""


def test_a_plan_waits_until_there_is_something_to_rank() -> None:
    triggers = Triggers(due="skip streak")
    assert triggers.request("ann", NOW) is None
    assert triggers.due == "skip streak"


@given(st.lists(st.tuples(st.sampled_from(["skip", "play", "like"]), st.integers(0, 5_000)), max_size=100))
def test_plans_of_one_viewer_keep_their_distance(steps) -> None:
    triggers, now, planned = ready(), NOW, []
    triggers.watched = 0
    for number, (action, wait) in enumerate(steps):
        now += wait
        triggers.on_interaction(interaction(number, action, at=now), None)
        if triggers.due and triggers.allowed_at(SETTINGS) <= now and triggers.request("ann", now):
            planned.append(now)
    gaps = [later - earlier for earlier, later in itertools.pairwise(planned)]
    assert all(gap >= SETTINGS.plan_min_interval_s * 1000 for gap in gaps)
