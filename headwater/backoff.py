"""When a process that died is started again."""

FIRST_WAIT_S = 0.5
# A process that ran this long was well: its next death is a new story.
WELL_AFTER_S = 60.0


class Backoff:
    """The waits of one process: doubled with each early death, up to `longest_s`. Times are monotonic seconds."""

    def __init__(self, *, longest_s: float, now: float) -> None:
        self._longest_s = longest_s
        self._wait_s = 0.0
        self._started_at = now
        self._due: float | None = None

    def died(self, *, now: float) -> float | None:
        """Take note of a death; return the wait until the next start in seconds, or None where it was known already."""
        if self._due is not None:
            return None
        was_well = now - self._started_at >= WELL_AFTER_S
        self._wait_s = FIRST_WAIT_S if was_well or not self._wait_s else min(self._wait_s * 2, self._longest_s)
        self._due = now + self._wait_s
        return self._wait_s

    def is_due(self, *, now: float) -> bool:
        """Return whether it is dead and has waited long enough."""
        return self._due is not None and now >= self._due

    def started(self, *, now: float) -> None:
        """Take note that it runs again."""
        self._started_at, self._due = now, None
