"""How far a flow has read its topics, by the broker's clock: a window may close only once all that fell into it was read."""

import time
from collections.abc import Callable

from streams.clock import Clock, now_ms

# A partition from which nothing came for so long was read to its end, up to so long ago. A process that is starved of the
# machine for longer would close windows whose last events it has not read; windows close later by as much.
IDLE_S = 10.0
# What was read takes a moment to reach the state that it belongs to.
ON_ITS_WAY_MS = 1_000


class Reading:
    """When the broker had the newest event that was read of each partition. Safe to use from several threads."""

    def __init__(self, clock: Clock = now_ms, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._newest: dict[tuple[str, int], tuple[int, float]] = {}

    def took(self, topic: str, partition: int, received_at: int) -> None:
        """Take note of an event that the broker had at `received_at`, Unix ms."""
        self._newest[topic, partition] = received_at, self._monotonic()

    def until(self) -> int:
        """Return the time, Unix ms, before which every event was read and has arrived."""
        idle_since = self._monotonic() - IDLE_S
        idle_until = self._clock() - int(IDLE_S * 1000)
        read = [received_at if at > idle_since else idle_until for received_at, at in list(self._newest.values())]
        return min(read, default=idle_until) - ON_ITS_WAY_MS
