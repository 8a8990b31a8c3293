"""The roll of the processes that the house keeps: who runs, since when, and how often each was started again."""

import psutil
from msgspec.structs import replace

from streams.clock import Clock, now_ms
from streams.events import Supervised


class Roll:
    """Written by the thread that keeps the house, called by the one that sends its heartbeat."""

    def __init__(self, clock: Clock = now_ms) -> None:
        self._clock = clock
        self._known: dict[str, Supervised] = {}

    def started(self, name: str, pid: int | None) -> None:
        """Take note that a process was started, or started again."""
        before = self._known.get(name)
        restarts, last_status = (0, None) if before is None else (before.restarts + 1, before.last_status)
        self._known[name] = Supervised(name=name, pid=pid, restarts=restarts, last_status=last_status, started_at=self._clock())

    def ended(self, name: str, status: int) -> None:
        """Take note that a process ended."""
        if (before := self._known.get(name)) is not None:
            self._known[name] = replace(before, pid=None, running=False, last_status=status)

    def call(self) -> tuple[Supervised, ...]:
        """Return every process as it is now, with its memory."""
        return tuple(replace(one, rss_bytes=_rss(one.pid)) for one in list(self._known.values()))


def _rss(pid: int | None) -> int:
    try:
        return 0 if pid is None else int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
