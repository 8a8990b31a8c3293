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


class Unsure(threading.local):
    """The rows that this thread wrote last. Each entity's rows are written by one thread, so none is newer elsewhere."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._rows: dict[Any, tuple[float, FeatureRow]] = {}
        self._erasures: dict[tuple[str, str], tuple[float, list[list[Any]]]] = {}
        self._connected_anew = False

    def connected(self) -> None:
        """Take note that a connection was made: if there was one before, Redis was away."""
        self._connected_anew = True

    def written(self, rows: Rows) -> Rows:
        """Take note that `rows` are acknowledged; return those to write again, none where Redis was not away."""
        now = self._monotonic()
        for key, row in rows.items():
            self._rows.pop(key, None)
            self._rows[key] = now, row
        again = {}
        if self._connected_anew:
            # Of what came before: as of the last write before Redis went, however long it was away.
            self._connected_anew = False
            again = {key: row for key, (_, row) in self._rows.items() if key not in rows}
        else:
            self._forget_before(now - KEPT_S)
        return again

    def forget(self, entity: tuple[str, str], kinds: Sequence[type[FeatureRow]], commands: list[list[Any]]) -> None:
        """Let go of an entity's rows that are erased by `commands`."""
        for kind in kinds:
            self._rows.pop((kind, entity), None)
        self._erasures[entity] = self._monotonic(), commands

    def erased(self) -> list[list[Any]]:
        """Return the commands of the last erasures to send again, none where Redis was not away."""
        oldest = self._monotonic() - KEPT_S
        if not self._connected_anew:
            self._erasures = {entity: erased for entity, erased in self._erasures.items() if erased[0] >= oldest}
            return []
        return [command for _, commands in self._erasures.values() for command in commands]

    def _forget_before(self, at: float) -> None:
        # The oldest come first.
        while self._rows:
            key = next(iter(self._rows))
            if self._rows[key][0] >= at:
                return
            del self._rows[key]
