"""Any folder with a `videos` and an `interactions` file: Parquet, CSV or JSON lines.

| file         | must have | may have |
| ------------ | --------- | -------- |
| videos       | video_id, title | author_id, tags, language, duration_ms, kind, media_uri |
| interactions | user_id, video_id, and estimated_ts_ms, timestamp or occurred_at | action, watch_ms |

Times are Unix seconds or milliseconds, or ISO 8601. An interaction without an action is a video watched to its end. Tags are a
list, or text separated by commas; a title's #hashtags are tags too. A video without an author gets a stand-in.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from simulation.datasets import BadDataset, Dataset, interaction, stand_in_author
from streams.events import Interaction, Upload

T = TypeVar("T", Upload, Interaction)

FORMATS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json"}
TIMES = ("estimated_ts_ms", "timestamp", "occurred_at")
# Rows that are Python objects at one time: more costs memory, fewer costs a call each.
BATCH = 10_000
# Before 1973 in milliseconds and after year 5000 in seconds: no data set means either.
SECONDS_BELOW = 100_000_000_000


def read(folder: Path) -> Dataset:
    """Return the data set in `folder`, named after it. Columns are held sorted in memory, about 50 bytes an interaction.

    Raises:
        BadDataset: a file or a column is missing, or a value can't be an event's; the message names it.
    """
    name = folder.resolve().name
    videos = _open(folder, "videos")
    _require(videos, "videos", ("video_id", "title"))
    acted = _open(folder, "interactions")
    _require(acted, "interactions", ("user_id", "video_id"))
    time = next((column for column in TIMES if column in acted.schema.names), None)
    if time is None:
        raise BadDataset(_missing(acted, "interactions", [" or ".join(TIMES)]))
    columns = [column for column in ("user_id", "video_id", "action", "watch_ms") if column in acted.schema.names]
    table = acted.to_table(columns=[*columns, time])
    at = _as_unix_ms(table[time], f"interactions.{time}")
    table = table.drop_columns([time]).append_column("at", at).sort_by("at")
    first = table["at"][0].as_py() if table.num_rows else 0
    uploads = tuple(_uploads(name, videos, first))
    return Dataset(
        name=name,
        uploads=uploads,
        interactions=lambda: _interactions(name, table),
        count=table.num_rows,
        notes=tuple(_notes(videos.schema.names, acted.schema.names)),
    )


def _open(folder: Path, stem: str) -> pads.Dataset:
    found = [path for path in sorted(folder.iterdir()) if path.stem == stem and path.suffix in FORMATS]
    if len(found) != 1:
        came = ", ".join(path.name for path in found) or "none"
        logged = "; a feedback log is read by `evaluate ranking --protocol off-policy`" if any(folder.glob("day=*")) else ""
        raise BadDataset(f"{folder}: expected one file {stem} with the ending {', '.join(FORMATS)}; found {came}{logged}")
    try:
        return pads.dataset(found[0], format=FORMATS[found[0].suffix])
    except (pa.ArrowInvalid, OSError) as error:
        raise BadDataset(f"{found[0]}: not readable as {FORMATS[found[0].suffix]}: {error}") from error


def _require(data: pads.Dataset, stem: str, columns: tuple[str, ...]) -> None:
    missing = [column for column in columns if column not in data.schema.names]
    if missing:
        raise BadDataset(_missing(data, stem, missing))


def _missing(data: pads.Dataset, stem: str, columns: list[str]) -> str:
    return f"{stem}: missing column {', '.join(columns)}; the file has {', '.join(data.schema.names)}"


def _as_unix_ms(times: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    try:
        if pa.types.is_string(times.type) or pa.types.is_large_string(times.type):
            times = pc.cast(times, pa.timestamp("ms", "UTC"))
        if pa.types.is_timestamp(times.type):
            return pc.cast(pc.cast(times, pa.timestamp("ms", times.type.tz), safe=False), pa.int64())
        numbers = pc.cast(times, pa.float64())
        return pc.cast(pc.if_else(pc.less(numbers, SECONDS_BELOW), pc.multiply(numbers, 1000), numbers), pa.int64(), safe=False)
    except pa.ArrowInvalid as error:
        raise BadDataset(f"{name}: expected Unix seconds or milliseconds or ISO 8601, got {times.type}: {error}") from error


def _uploads(name: str, videos: pads.Dataset, at: int) -> Iterator[Upload]:
    count = videos.count_rows()
    optional = [c for c in ("author_id", "tags", "language", "duration_ms", "kind", "media_uri") if c in videos.schema.names]
    for batch in videos.to_batches(columns=["video_id", "title", *optional], batch_size=BATCH):
        for row in batch.to_pylist():
            video = str(row["video_id"])
            given: dict[str, Any] = {column: row[column] for column in optional if row[column] is not None}
            title = str(row["title"] or "")[:500]
            fields = given | {
                "event_id": f"{name}-upload-{video}",
                "video_id": f"{name}-{video}",
                "author_id": f"{name}-{given['author_id']}" if "author_id" in given else stand_in_author(name, video, count),
                "title": title,
                "tags": _tags(given.get("tags"), title),
                "uploaded_at": at,
            }
            yield _checked(fields, Upload, f"videos: video_id {video}")


def _tags(given: str | list[str] | None, title: str) -> tuple[str, ...]:
    listed = given.split(",") if isinstance(given, str) else given or []
    cleaned = (tag.strip()[:64].strip() for tag in [*listed, *title.split("#")[1:]])
    return tuple(dict.fromkeys(tag for tag in cleaned if tag))[:32]


def _interactions(name: str, table: pa.Table) -> Iterator[Interaction]:
    for batch in table.to_batches(max_chunksize=BATCH):
        for row in batch.to_pylist():
            fields = msgspec.to_builtins(
                interaction(
                    name,
                    str(row["user_id"]),
                    str(row["video_id"]),
                    row.get("action") or "complete",
                    row["at"],
                    watch_ms=row.get("watch_ms"),
                )
            )
            yield _checked(fields, Interaction, f"interactions: user_id {row['user_id']}, video_id {row['video_id']}")


def _checked(fields: dict[str, Any], event: type[T], where: str) -> T:
    try:
        return msgspec.convert({"type": event.__name__} | fields, event)
    except msgspec.ValidationError as error:
        raise BadDataset(f"{where}: {error}") from error


def _notes(videos: list[str], interactions: list[str]) -> Iterator[str]:
    if "action" not in interactions:
        yield "the data names no actions: each interaction is a video watched to its end (complete)"
    if "author_id" not in videos:
        yield "authors are stand-ins, each with about 20 videos: the data names none"
