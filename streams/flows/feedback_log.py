"""The Parquet log of feedback, partitioned by day: what the next policy is trained on."""

import time
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from streams.events import Feedback
from streams.flows.feature_io import Forget, prove
from streams.kafka import EventProducer
from streams.parquet_log import ParquetLog, timestamp

LogItem: TypeAlias = Feedback | Forget

# A file is closed at so many rows or after so long: larger files read faster, and the rest waits in the snapshot.
ROWS_A_FILE = 5_000
SECONDS_A_FILE = 60.0

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
        ("policy_version", pa.string()),
        ("arm", pa.string()),
        ("served_at", pa.timestamp("ms", tz="UTC")),
        ("closed_at", pa.timestamp("ms", tz="UTC")),
    ]
)


class FeedbackLog(ParquetLog):
    """One row a place of a served page. A crash may write a page twice: readers keep one of each request and video."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SCHEMA, day_of="served_at")

    def add(self, feedback: list[Feedback]) -> None:
        """Write pages to disk."""
        self.append(pa.Table.from_pylist([row for made in feedback for row in _rows(made)], schema=SCHEMA))


def _rows(feedback: Feedback) -> list[dict[str, object]]:
    page = {
        "request_id": feedback.request_id,
        "user_id": feedback.user_id,
        "policy_version": feedback.policy_version,
        "arm": feedback.arm,
        "served_at": timestamp(feedback.served_at),
        "closed_at": timestamp(feedback.closed_at),
    }
    fields = ("video_id", "position", "propensity", "source", "actions", "watch_ms", "reward", "parts")
    return [page | {name: getattr(item, name) for name in fields} for item in feedback.items]


class _Partition(StatefulSinkPartition[LogItem, list[Feedback]]):
    """Rows wait in memory for a file worth writing; what waits is in the snapshot, so a crash loses none."""

    def __init__(self, log: FeedbackLog, purges: EventProducer, waiting: list[Feedback]) -> None:
        self._log = log
        self._purges = purges
        self._waiting = waiting
        self._since = time.monotonic()

    def write_batch(self, values: list[LogItem]) -> None:
        for value in values:
            if isinstance(value, Forget):
                self._flush()
                prove(self._with_log(value), self._purges)
            else:
                self._waiting.append(value)

    def _with_log(self, forget: Forget) -> Forget:
        def purge() -> dict[str, int]:
            return forget.purge() | {"feedback log": self._log.erase("user_id", forget.subject_id)}

        return Forget(forget.cause, forget.subject, forget.subject_id, purge)

    def snapshot(self) -> list[Feedback]:
        rows = sum(len(made.items) for made in self._waiting)
        if rows >= ROWS_A_FILE or time.monotonic() - self._since > SECONDS_A_FILE:
            self._flush()
        return list(self._waiting)

    def _flush(self) -> None:
        if self._waiting:
            self._log.add(self._waiting)
        self._waiting, self._since = [], time.monotonic()

    def close(self) -> None:
        # What waits is in the last snapshot: writing it here too would write it twice.
        pass


class FeedbackLogSink(FixedPartitionedSink[LogItem, list[Feedback]]):
    """The end of the feedback flow on disk."""

    def __init__(self, log: FeedbackLog, purges: EventProducer) -> None:
        self._log = log
        self._purges = purges

    def list_parts(self) -> list[str]:
        return ["log"]

    def build_part(self, step_id: str, for_part: str, resume_state: list[Feedback] | None) -> _Partition:
        return _Partition(self._log, self._purges, resume_state or [])
