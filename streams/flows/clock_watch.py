"""Watches the clock: what waits for a time of day would otherwise sleep through the hour by which a clock is set back."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streams.clock import Clock, now_ms

# More than what time services slew or leap; less, and they would restart the flows.
BACK_MS = 10_000
EVERY_S = 0.5


class ClockWatch:
    """Compares the time of day with a clock that is never set."""

    def __init__(self, *, clock: Clock = now_ms, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._monotonic = clock, monotonic
        self._ahead_ms = self._look()

    def set_back_ms(self) -> int:
        """Return by how much the clock was set back since the last call; 0 where that is nothing to speak of."""
        before, self._ahead_ms = self._ahead_ms, self._look()
        back = before - self._ahead_ms
        return back if back > BACK_MS else 0

    def _look(self) -> int:
        return self._clock() - int(self._monotonic() * 1000)


@contextmanager
def watching(set_back: Callable[[int], None]) -> Iterator[None]:
    """While the block runs, call `set_back` with the milliseconds by which the clock was, from another thread, once."""
    ended = threading.Event()
    watch = ClockWatch()

    def look() -> None:
        while not ended.wait(EVERY_S):
            if back := watch.set_back_ms():
                set_back(back)
                return

    thread = threading.Thread(target=look, name="clock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
