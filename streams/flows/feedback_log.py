"""The Parquet log of feedback, partitioned by day: what the next policy is trained on."""

import logging
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import bytewax.operators as op
import pyarrow as pa
from bytewax.dataflow import Stream
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from msgspec import Struct, field

from streams.clock import Clock, now_ms
from streams.events import Feedback
from streams.flows.feature_io import Forget, prove
from streams.kafka import EventProducer
from streams.parquet_log import ParquetLog, settled_before, timestamp
from streams.state.snapshot import dump, load

log = logging.getLogger(__name__)

LogItem: TypeAlias = Feedback | Forget

# A file is closed at so many rows, if not before: larger files read faster, and what waits is in each snapshot.
ROWS_A_FILE = 5_000
# How long after its sealing a file is written: by then the snapshot that holds it is on disk.
SEALED_MS = 5_000
LOOK_EVERY_MS = 1_000

SCHEMA = pa.schema(
    [
        ("request_id", pa.string()),
        ("user_id", pa.string()),
        ("video_id", pa.string()),
        ("position", pa.int32()),
        ("propensity", pa.float64()),
        ("source", pa.string()),
        ("actions", pa.list_(pa.string())),
        ("watch_ms", pa.int64()),
        ("reward", pa.float64()),
        ("parts", pa.map_(pa.string(), pa.float64())),
        ("features", pa.binary()),
        ("policy_version", pa.string()),
        ("arm", pa.string()),
        ("features_version", pa.int32()),
        ("served_at", pa.timestamp("ms", tz="UTC")),
        ("closed_at", pa.timestamp("ms", tz="UTC")),
        ("rivals", pa.map_(pa.string(), pa.float64())),
    ]
)


class FeedbackLog(ParquetLog):
    """One row a place of a served page, each once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SCHEMA, day_of="served_at")

    def add(self, feedback: list[Feedback], *, name: str | None = None) -> None:
        """Write pages to disk. The same pages under the same `name` are there once."""
        self.append(self.table(feedback), name=name)

    @staticmethod
    def table(feedback: list[Feedback]) -> pa.Table:
        """Return pages as rows, as they are on disk."""
        return pa.Table.from_pylist([row for made in feedback for row in _rows(made)], schema=SCHEMA)


def _rows(feedback: Feedback) -> list[dict[str, object]]:
    page = {
        "request_id": feedback.request_id,
        "user_id": feedback.user_id,
        "policy_version": feedback.policy_version,
        "arm": feedback.arm,
        "features_version": feedback.features_version,
        "served_at": timestamp(feedback.served_at),
        "closed_at": timestamp(feedback.closed_at),
    }
    fields = ("video_id", "position", "propensity", "source", "actions", "watch_ms", "reward", "parts", "features", "rivals")
    return [page | {name: getattr(item, name) for name in fields} for item in feedback.items]


class File(Struct, frozen=True):
    """Pages that are one file of the log. Written twice, under the same name, it is there once."""

    name: str
    pages: list[Feedback]


class Waiting(Struct):
    """Pages on their way to a file. What is `sealed` under a name goes to disk only once a snapshot holds it so.

    After a crash the same pages are written under the same name: each page is in the log once.
    """

    open: list[Feedback] = field(default_factory=list)
    since: int = 0
    sealed: list[Feedback] = field(default_factory=list)
    name: str = ""
    sealed_at: int = 0


class LogLogic(StatefulBatchLogic[LogItem, "File | Forget", bytes]):
    """Collects pages until there are enough for a file, or the oldest has waited `file_ms`."""

    def __init__(self, snapshot: bytes | None, log: FeedbackLog, file_ms: int, clock: Clock) -> None:
        self._waiting = Waiting() if snapshot is None else load(Waiting, snapshot)
        self._in_snapshot = snapshot is not None
        self._log = log
        self._file_ms = file_ms
        self._clock = clock

    def on_batch(self, values: list[LogItem]) -> tuple[Iterable[File | Forget], bool]:
        out: list[File | Forget] = []
        for value in values:
            if isinstance(value, Forget):
                out.append(self._without(value))
            else:
                self._waiting.since = self._waiting.since or self._clock()
                self._waiting.open.append(value)
        return out + self._files(), StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[File | Forget], bool]:
        return self._files(), StatefulBatchLogic.RETAIN

    def _without(self, forget: Forget) -> Forget:
        """Let go of a viewer's pages here, and, after what was written before, in the log."""
        waiting, user_id = self._waiting, forget.subject_id
        rows = sum(len(made.items) for made in (*waiting.open, *waiting.sealed) if made.user_id == user_id)
        waiting.open = [made for made in waiting.open if made.user_id != user_id]
        waiting.sealed = [made for made in waiting.sealed if made.user_id != user_id]

        def purge() -> dict[str, int]:
            return forget.purge() | {"feedback log": rows + self._log.erase("user_id", user_id)}

        return Forget(forget.cause, forget.subject, user_id, purge)

    def _files(self) -> list[File | Forget]:
        waiting, now = self._waiting, self._clock()
        files: list[File | Forget] = []
        if waiting.name and self._in_snapshot and now >= waiting.sealed_at + SEALED_MS:
            files.append(File(waiting.name, waiting.sealed))
            waiting.sealed, waiting.name = [], ""
        rows = sum(len(made.items) for made in waiting.open)
        if not waiting.name and waiting.open and (rows >= ROWS_A_FILE or now >= waiting.since + self._file_ms):
            waiting.sealed, waiting.name, waiting.sealed_at = waiting.open, uuid.uuid4().hex, now
            waiting.open, waiting.since = [], 0
            self._in_snapshot = False
        return files

    def notify_at(self) -> datetime | None:
        waiting = self._waiting
        if waiting.name:
            at = max(waiting.sealed_at + SEALED_MS, self._clock() + LOOK_EVERY_MS)
        elif waiting.open:
            at = waiting.since + self._file_ms
        else:
            return None
        return datetime.fromtimestamp(at / 1000, UTC)

    def snapshot(self) -> bytes:
        self._in_snapshot = True
        return dump(self._waiting)


class _Partition(StatelessSinkPartition[File | Forget]):
    def __init__(self, log: FeedbackLog, purges: EventProducer) -> None:
        self._log = log
        self._purges = purges
        self._merged_before = ""

    def write_batch(self, items: list[File | Forget]) -> None:
        for item in items:
            if isinstance(item, Forget):
                prove(item, self._purges)
            else:
                self._log.add(item.pages, name=item.name)
                self._merge()

    def _merge(self) -> None:
        """Once a day, make one file of each past day's."""
        if (before := settled_before()) != self._merged_before:
            self._merged_before = before
            try:
                self._log.merge(before=before)
            except pa.ArrowException as error:
                # Many small files are read all the same; to end the flow over them would be worse.
                log.error("the feedback log's files can't be merged: %s", error)


class _Sink(DynamicSink[File | Forget]):
    def __init__(self, log: FeedbackLog, purges: EventProducer) -> None:
        self._log = log
        self._purges = purges

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Partition:
        return _Partition(self._log, self._purges)


def write_log(items: Stream[LogItem], log: FeedbackLog, purges: EventProducer, *, file_ms: int, clock: Clock = now_ms) -> None:
    """End the feedback flow on disk."""
    # One key, so that one worker collects the pages of all viewers.
    keyed = op.key_on("to-log", items, lambda _: "log")
    files = op.stateful_batch("files", keyed, lambda snapshot: LogLogic(snapshot, log, file_ms, clock))
    op.output("log", op.key_rm("of-log", files), _Sink(log, purges))
