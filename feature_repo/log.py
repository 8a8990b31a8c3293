"""The feature log: what the features were, and when, in Parquet; the offline half of every view."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from feature_repo.schema import STRUCTS, VIEW_OF, entity_key, feature_types, log_schema
from feature_repo.settings import FeatureStoreSettings
from streams.features import FeatureRow, Vector
from streams.parquet_log import ParquetLog, settled_before

log = logging.getLogger(__name__)

# Rows after which the disk is not waited for any longer; an interests row is 3 KB.
ROWS_IN_MEMORY = 20_000
# Rows kept in memory while the disk takes none. More is more of the log after a long outage, and memory meanwhile.
ROWS_KEPT = 2 * ROWS_IN_MEMORY
# How long a disk that took none is left alone: shorter makes the tables of all that waits again and again.
RETRY_S = 2.0
# Rows that become Arrow's between two pauses: 250 are some 4 ms, and the pauses leave a flow more than half of the time.
COPIED_AT_ONCE = 250
PAUSE_S = 0.005
# Entities whose last logging is remembered; past this the oldest are forgotten and may be logged early.
REMEMBERED = 200_000


class FeatureLog:
    """Takes feature rows, keeps at most one of an entity in `log_every_s`, and writes them from a thread of its own.

    A crash loses the rows still in memory, and a full disk those past `ROWS_KEPT`: the log is a sample of what the features
    were, and the next event of each entity logs it again. The features themselves are in the online store.
    """

    def __init__(self, settings: FeatureStoreSettings) -> None:
        self._settings = settings
        self._logs = {
            name: ParquetLog(Path(settings.log) / name, log_schema(struct), day_of="event_timestamp")
            for name, struct in STRUCTS.items()
        }
        self._lock = threading.Lock()
        self._disk = threading.Lock()
        self._rows: list[FeatureRow] = []
        self._logged_at: dict[tuple[str, str], int] = {}
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._written: set[str] = set()
        self._merged_before = ""

    def ensure_readable(self) -> None:
        """Make each view's folder a dataset that Feast can open before the first row."""
        for log in self._logs.values():
            log.ensure_readable()

    def add(self, rows: Sequence[FeatureRow]) -> None:
        """Take rows; those of an entity logged a moment ago are left out."""
        every_ms = int(self._settings.log_every_s * 1000)
        with self._lock:
            for row in rows:
                view = VIEW_OF[type(row)]
                key = (view, getattr(row, entity_key(type(row))))
                if row.as_of - self._logged_at.get(key, -every_ms) >= every_ms:
                    self._logged_at[key] = row.as_of
                    self._rows.append(row)
            while len(self._logged_at) > REMEMBERED:
                del self._logged_at[next(iter(self._logged_at))]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="feature-log", daemon=True)
                self._thread.start()
        if len(self._rows) >= ROWS_IN_MEMORY:
            self._wake.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self._settings.log_flush_s)
            self._wake.clear()
            if not self._try_flush():
                self._closing.wait(RETRY_S)
            self._merge()
            # Arrow keeps what it once had for the next time, which is half a minute away: some 60 MB.
            pa.default_memory_pool().release_unused()

    def _merge(self) -> None:
        """Once a day, make one file of each past day's, of the views that this process writes."""
        before = settled_before()
        if before != self._merged_before:
            try:
                for name in self._written:
                    self._logs[name].merge(before=before)
                self._merged_before = before
            except (OSError, pa.ArrowException) as error:
                log.error("the feature log's files can't be merged: %s", error)

    def _try_flush(self) -> bool:
        try:
            self.flush()
        except OSError as error:
            log.error("the feature log can't be written, %d rows wait: %s", len(self._rows), error)
            return False
        return True

    def flush(self) -> None:
        """Write what is in memory. Raises OSError where the disk takes none; the rows then stay."""
        with self._disk:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            rows, self._rows = self._rows, []
        for name, struct in STRUCTS.items():
            if of_view := [row for row in rows if type(row) is struct]:
                try:
                    self._logs[name].append(pa.concat_tables(_tables(struct, of_view)))
                    self._written.add(name)
                except OSError:
                    self._keep(rows)
                    raise
                rows = [row for row in rows if type(row) is not struct]

    def _keep(self, rows: list[FeatureRow]) -> None:
        with self._lock:
            self._rows = rows + self._rows
            if (too_many := len(self._rows) - ROWS_KEPT) > 0:
                del self._rows[:too_many]
                log.error("the feature log lost the oldest %d rows: the disk takes none", too_many)

    def erase(self, views: Sequence[str], entity: str) -> int:
        """Remove the rows of a viewer or video in `views` from memory and disk; return how many went."""
        # Held throughout: rows on their way to disk would be found neither in memory nor there.
        with self._disk:
            self._flush()
            with self._lock:
                for view in views:
                    self._logged_at.pop((view, entity), None)
            return sum(self._logs[view].erase(entity_key(STRUCTS[view]), entity) for view in views)

    def close(self) -> None:
        """Write what is in memory and stop."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(10.0)
        self._try_flush()


def _tables(struct: type[FeatureRow], rows: list[FeatureRow]) -> Iterator[pa.Table]:
    """Yield the rows as tables of a few each: Arrow copies under Python's lock, which a flow can't wait for."""
    for begin in range(0, len(rows), COPIED_AT_ONCE):
        yield _table(struct, rows[begin : begin + COPIED_AT_ONCE])
        time.sleep(PAUSE_S)


def _table(struct: type[FeatureRow], rows: list[FeatureRow]) -> pa.Table:
    key, schema = entity_key(struct), log_schema(struct)
    columns = [
        pa.array([getattr(row, key) for row in rows], pa.string()),
        pa.array([row.as_of for row in rows], schema.field("event_timestamp").type),
    ]
    for name, kind in feature_types(struct).items():
        values = [getattr(row, name) for row in rows]
        columns.append(_vectors(values) if kind == Vector else pa.array(values, schema.field(name).type))
    return pa.table(columns, schema=schema)


def _vectors(values: list[Vector]) -> pa.Array:
    # Through Python floats, an hour of viewers' vectors would take minutes of the flow's own core.
    ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(np.concatenate(values), pa.float32()))
