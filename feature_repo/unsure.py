"""Rows that Redis acknowledged moments ago and may have forgotten: written again once it was away.

A server that syncs its file once a second loses what waited for a sync under way; a replica that takes over lacks what had
not reached it.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from streams.features import FeatureRow

# By row type and entity (its key's name and value).
Rows: TypeAlias = Mapping[tuple[type[FeatureRow], tuple[str, str]], FeatureRow]

# Redis puts off writing its file for two seconds at most. Longer costs memory: every row of that time is held.
KEPT_S = 3.0


class Unsure:
    """The rows that each thread wrote last. Each entity's rows are written by one thread, so none is newer elsewhere."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        # Threads share their connections: the one that finds Redis back is not the only one whose rows may be gone.
        self._connections = 0
        self._mine = _OfThread()

    def connected(self) -> None:
        """Take note that a connection was made: if there was one before, Redis may have been away."""
        self._connections += 1

    def written(self, rows: Rows) -> Rows:
        """Take note that `rows` are acknowledged; return those to write again, none where Redis was not away."""
        now, mine = self._monotonic(), self._mine
        for key, row in rows.items():
            mine.rows.pop(key, None)
            mine.rows[key] = now, row
        if mine.connections == self._connections:
            mine.forget_before(now - KEPT_S)
            return {}
        # Of what came before: as of the last write before Redis went, however long it was away.
        mine.connections = self._connections
        return {key: row for key, (_, row) in mine.rows.items() if key not in rows}

    def forget(self, entity: tuple[str, str], kinds: Sequence[type[FeatureRow]], commands: list[list[Any]]) -> None:
        """Let go of an entity's rows that are erased by `commands`."""
        for kind in kinds:
            self._mine.rows.pop((kind, entity), None)
        self._mine.erasures[entity] = self._monotonic(), commands

    def erased(self) -> list[list[Any]]:
        """Return the commands of the last erasures to send again, none where Redis was not away."""
        oldest, mine = self._monotonic() - KEPT_S, self._mine
        if mine.connections == self._connections:
            mine.erasures = {entity: erased for entity, erased in mine.erasures.items() if erased[0] >= oldest}
            return []
        return [command for _, commands in mine.erasures.values() for command in commands]


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.rows: dict[Any, tuple[float, FeatureRow]] = {}
        self.erasures: dict[tuple[str, str], tuple[float, list[list[Any]]]] = {}
        self.connections = 0

    def forget_before(self, at: float) -> None:
        # The oldest come first.
        while self.rows:
            key = next(iter(self.rows))
            if self.rows[key][0] >= at:
                return
            del self.rows[key]
