"""An append-only log of rows in Parquet, partitioned by day, from which one entity's rows can be erased."""

import json
import logging
import os
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

log = logging.getLogger(__name__)

MERGED, MADE_OF = "merged", b"made_of"
# Files come and go while a log is read; more than this in a row is no coincidence.
_READS = 5
_UNREADABLE = (pa.ArrowInvalid, pa.ArrowNotImplementedError)


class ParquetLog:
    """Rows as files `day=YYYY-MM-DD/part-….parquet` below one folder. Safe to use from several threads.

    A file appears whole or not at all: it is written beside its place and renamed.
    """

    def __init__(self, folder: Path, schema: pa.Schema, *, day_of: str) -> None:
        """Keep rows of `schema` in `folder`; the day is that of the column `day_of`, a timestamp."""
        self.folder = folder
        self.schema = schema
        self._day_of = day_of
        self._lock = threading.Lock()

    def append(self, rows: pa.Table, *, name: str | None = None) -> None:
        """Write rows to disk, one file a day they belong to. The same rows under the same `name` are there once."""
        days = pc.strftime(rows[self._day_of], format="%Y-%m-%d")
        for day in pc.unique(days).to_pylist():
            self._write(f"day={day}", f"part-{name or uuid.uuid4().hex}.parquet", rows.filter(pc.equal(days, day)))

    def _write(self, folder: str, name: str, rows: pa.Table) -> None:
        path = self.folder / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, rows)

    def read(self, columns: list[str] | None = None, *, since: str = "") -> pa.Table:
        """Return the rows on disk of the days from `since` (YYYY-MM-DD) on, of all days without.

        Of files that another version wrote, columns that it did not know are null. A file that is none is left out.
        """
        found = self.look(lambda dataset: dataset.to_table(columns), since=since)
        return self.schema.empty_table().select(columns or self.schema.names) if found is None else found

    def count(self, *, since: str = "") -> int:
        """Return how many rows there are, as the files say of themselves, those with columns of another kind too."""
        return int(self.look(lambda dataset: dataset.count_rows(), since=since) or 0)

    def look(self, read: Callable[[ds.Dataset], Any], *, since: str = "") -> Any:
        """Return what `read` makes of the files on disk, None where there are none; it may be called more than once."""
        for left in range(_READS - 1, -1, -1):
            paths = sorted(self.folder.glob("day=*/part-*.parquet"))
            names = [str(path) for path in paths if path.parent.name >= f"day={since}"]
            if not names:
                return None
            try:
                return self._of_good(names, read)
            except FileNotFoundError:
                # A merge has made one file of some, in between.
                if not left:
                    raise
        return None

    def _of_good(self, names: list[str], read: Callable[[ds.Dataset], Any]) -> Any:
        try:
            return read(ds.dataset(names, schema=self.schema))
        except _UNREADABLE as error:
            # A machine that lost its power leaves files without an end; a stranger's has columns of another kind.
            good = [name for name in names if self._can_be(name, read)]
            bad = sorted(set(names).difference(good))
            log.error("%s: %d files can't be read and are left out, %s first: %s", self.folder, len(bad), bad[:1], error)
            return read(ds.dataset(good, schema=self.schema)) if good else None

    def _can_be(self, name: str, read: Callable[[ds.Dataset], Any]) -> bool:
        try:
            read(ds.dataset([name], schema=self.schema))
        except _UNREADABLE:
            return False
        return True

    def ensure_readable(self) -> None:
        """Make the folder a dataset that readers can open before the first row: they refuse an empty one."""
        if not any(self.folder.glob("**/*.parquet")):
            self._write("day=1970-01-01", "part-empty.parquet", self.schema.empty_table())

    def merge(self, *, before: str) -> int:
        """Make one file of each day's files, for the days before `before` (YYYY-MM-DD); return how many files went.

        A day of minutes' files takes a reader long to open. A crash in between leaves some rows twice until the next call.
        """
        gone = 0
        with self._lock:
            self._drop_unfinished()
            for folder in sorted(self.folder.glob("day=*")):
                if folder.name < f"day={before}":
                    gone += _merge(folder, self.schema)
        return gone

    def erase(self, column: str, value: str) -> int:
        """Rewrite the files that hold rows whose `column` equals `value`, without them; return how many rows went."""
        erased, kind = 0, self.schema.field(column)
        with self._lock:
            self._drop_unfinished()
            for path in sorted(self.folder.glob("day=*/part-*.parquet")):
                # Of nearly all files this column is read and no other: a history is a thousand times its viewer's id.
                names = _read(path, [column], as_schema=pa.schema([kind]))
                if names is None or not pc.any(pc.equal(names[column], value)).as_py():
                    continue
                table = _read(path)
                if table is None:
                    continue
                kept = table.filter(pc.not_equal(table[column].cast(kind.type), value))
                erased += table.num_rows - kept.num_rows
                _replace(path, kept)
        return erased

    def _drop_unfinished(self) -> None:
        """Delete what processes that are gone had begun to write: nobody finishes it, and it may name somebody."""
        for beside in self.folder.glob("day=*/.*.tmp"):
            if not psutil.pid_exists(int(beside.name.split(".")[-2])):
                beside.unlink(missing_ok=True)


def _replace(path: Path, table: pa.Table) -> None:
    beside = _beside(path)
    try:
        pq.write_table(table, beside, compression="zstd")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _read(path: Path, columns: list[str] | None = None, *, as_schema: pa.Schema | None = None) -> pa.Table | None:
    """Return a file's rows, of all columns or some, or as those of a schema.

    A file that a crash of the machine left unreadable, or with columns of another kind, is set aside, and holds up nothing.
    """
    try:
        rows = pq.ParquetFile(path).read(columns)
        return rows if as_schema is None else _as(as_schema, rows)
    except _UNREADABLE as error:
        path.rename(path.with_name(f"unreadable-{path.name}"))
        log.error("%s can't be read and was set aside: %s", path, error)
        return None


def _merge(folder: Path, schema: pa.Schema) -> int:
    for merged in folder.glob(f"part-{MERGED}-*.parquet"):
        # What it was made of went with it, unless a crash came between.
        for name in json.loads((pq.read_schema(merged).metadata or {}).get(MADE_OF, b"[]")):
            (folder / name).unlink(missing_ok=True)
    parts = sorted(folder.glob("part-*.parquet"))
    if len(parts) < 2:
        return 0
    path = folder / f"part-{MERGED}-{uuid.uuid4().hex}.parquet"
    beside = _beside(path)
    made_of = schema.with_metadata({MADE_OF: json.dumps([part.name for part in parts])})
    try:
        with pq.ParquetWriter(beside, made_of, compression="zstd") as writer:
            for part in parts:
                rows = _read(part, as_schema=schema)
                if rows is not None:
                    writer.write_table(rows.replace_schema_metadata(made_of.metadata))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    for part in parts:
        part.unlink(missing_ok=True)
    return len(parts) - 1


def _as(schema: pa.Schema, rows: pa.Table) -> pa.Table:
    """Return rows that another version wrote with the columns of `schema`: those that it did not know are null."""
    known = set(rows.column_names)
    columns = [
        rows[field.name].cast(field.type) if field.name in known else pa.nulls(rows.num_rows, field.type) for field in schema
    ]
    return pa.table(columns, schema=schema)


def settled_before() -> str:
    """Return the day, YYYY-MM-DD, before which no file is written any more but for a straggler's."""
    return (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")


def timestamp(at: int) -> datetime:
    """Return Unix milliseconds as a UTC datetime."""
    return datetime.fromtimestamp(at / 1000, UTC)
