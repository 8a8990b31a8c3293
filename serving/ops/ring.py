"""Series of the last hour, one value a second, in memory that does not grow."""

import threading
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

SECONDS = 3600
# 14 kB each. Names hold those of processes and topics: more than this many is somebody's mistake, and its series are left out.
MOST = 200


class Rings:
    """Values by second and by series; a second in which nothing was measured has none. Safe to use from several threads."""

    def __init__(self, seconds: int = SECONDS, most: int = MOST) -> None:
        self._size = seconds
        self._most = most
        self._second = np.full(seconds, -1, dtype=np.int64)
        self._series: dict[str, NDArray[np.float32]] = {}
        self._writing = threading.Lock()

    def put(self, at_ms: int, values: Mapping[str, float | None]) -> None:
        """Take in the values of one second. One that is older than the hour is left out, one in the past fills a gap."""
        second = at_ms // 1000
        place = second % self._size
        with self._writing:
            if self._second[place] > second:
                return
            if self._second[place] < second:
                self._second[place] = second
                for column in self._series.values():
                    column[place] = np.nan
            for name, value in values.items():
                series = None if value is None else self._column(name)
                if series is not None:
                    series[place] = value

    def _column(self, name: str) -> NDArray[np.float32] | None:
        column = self._series.get(name)
        if column is None and len(self._series) < self._most:
            column = self._series[name] = np.full(self._size, np.nan, dtype=np.float32)
        return column

    def since(self, now_ms: int) -> tuple[list[int], Iterator[tuple[str, list[float | None]]]]:
        """Return the seconds (Unix ms) from the first measured one of the last hour until now, and each series over them."""
        newest = now_ms // 1000
        wanted = np.arange(newest - self._size + 1, newest + 1)
        with self._writing:
            known = self._second[wanted % self._size] == wanted
            columns = {name: column.copy() for name, column in self._series.items()}
        wanted = wanted[int(known.argmax()) :] if known.any() else wanted[:0]
        known = known[len(known) - len(wanted) :]
        places = wanted % self._size
        series = ((name, _values(np.where(known, column[places], np.nan))) for name, column in columns.items())
        return (wanted * 1000).tolist(), series


def _values(column: NDArray[np.float32]) -> list[float | None]:
    # As float64, or 0.1 would be written with the seventeen digits of its float32.
    rounded = np.round(column.astype(np.float64), 3)
    return [None if value != value else value for value in rounded.tolist()]
