"""How far a flow has read: what windows close by."""

from streams.flows.reading import IDLE_S, ON_ITS_WAY_MS, Reading
from tests.streams.world import NOW

IDLE_MS = int(IDLE_S * 1000)


def test_a_window_waits_for_the_partition_that_is_furthest_behind() -> None:
    reading = Reading(lambda: NOW, lambda: 100.0)
    reading.took("interactions", 0, NOW - 10)
    reading.took("interactions", 1, NOW - 60_000)
    assert reading.until() == NOW - 60_000 - ON_ITS_WAY_MS
    reading.took("interactions", 1, NOW - 30)
    assert reading.until() == NOW - 30 - ON_ITS_WAY_MS


def test_a_partition_that_says_nothing_holds_windows_up_for_no_longer_than_it_takes_to_be_sure() -> None:
    now = [0.0]
    reading = Reading(lambda: NOW + int(now[0] * 1000), lambda: now[0])
    assert reading.until() == NOW - IDLE_MS - ON_ITS_WAY_MS
    reading.took("interactions", 0, NOW - 60_000)
    now[0] += IDLE_S
    assert reading.until() == NOW - ON_ITS_WAY_MS
