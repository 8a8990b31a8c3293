"""The pace of a replay, without an API."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.datasets import interaction
from simulation.replay import LONGEST_WAIT_S, MAX_BATCH, Pace, batches


def test_a_rate_spaces_events_evenly() -> None:
    assert [Pace(rate=10).due_s(index, 10**9) for index in (0, 1, 10)] == [0, 0.1, 1.0]


def test_a_speed_compresses_the_data_s_own_rhythm() -> None:
    assert Pace(speed=3600).due_s(5, 7_200_000) == 2.0


def test_a_pace_is_one_of_the_two() -> None:
    with pytest.raises(ValueError, match="a rate or a speed"):
        Pace(rate=1, speed=1)


@given(st.lists(st.integers(0, 10**9), max_size=300).map(sorted), st.floats(0.1, 1e6))
def test_batches_hold_every_event_once_in_order_and_never_wait_long(times: list[int], speed: float) -> None:
    events = [interaction("data", "u", str(index), "play", at) for index, at in enumerate(times)]
    pace = Pace(speed=speed)
    found = list(batches(events, pace))
    assert [event for _, batch in found for event in batch] == events
    for due_s, batch in found:
        first_due_s = pace.due_s(0, batch[0].occurred_at - times[0])
        assert len(batch) <= MAX_BATCH
        assert due_s - first_due_s <= LONGEST_WAIT_S
