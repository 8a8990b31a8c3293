"""What viewers watched and what the videos are, out of the logs that the flows write: what the towers learn from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from feature_repo.schema import log_schema
from models.learning.gate import TooLittle
from models.retrieval.log import WANTED, WatchLog, watch_log
from streams.events import Action, Interaction, Upload
from streams.features import Vector, VideoContent
from streams.flows.feedback_log import FeedbackLog
from streams.parquet_log import ParquetLog
from streams.state.engagement import INTEREST

# Rows that are Python objects at a time.
ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Watches:
    """A log of watches, and the embeddings of its m videos, (m, 384), as the newest perceptions have them."""

    log: WatchLog
    embeddings: Vector

    def beginning_with(self, video_ids: Sequence[str]) -> "Watches":
        """Return them with these videos first, in this order. Of those that are gone there is no more than a row."""
        rows = {video: row for row, video in enumerate(self.log.video_ids)}
        gone = [video for video in video_ids if video not in rows]
        rows |= {video: len(rows) + place for place, video in enumerate(gone)}
        log = replace(self.log, video_ids=tuple(rows), texts=(*self.log.texts, *([""] * len(gone))))
        embeddings = np.concatenate([self.embeddings, np.zeros((len(gone), self.embeddings.shape[1]), np.float32)])
        first = np.array([rows[video] for video in video_ids], np.int64)
        order = np.concatenate([first, np.setdiff1d(np.arange(len(rows)), first)])
        return Watches(log.arranged(order), embeddings[order])


def watches_of(feedback: Path, content: Path, *, since: str = "") -> Watches:
    """Return what the feedback log tells from day `since` on of the videos in `content`, the feature log's `video_content`.

    A video is watched at the time its page was served, if its viewer did one of `WANTED`; of several the strongest
    counts.

    Raises:
        TooLittle: a log is empty, or no video of it was watched.
    """
    perceived = ParquetLog(content, log_schema(VideoContent), day_of="event_timestamp")
    rows = perceived.read(["video_id", "event_timestamp", "author_id", "summary", "embedding"])
    if not rows.num_rows:
        raise TooLittle(f"{content}: no video was perceived yet")
    videos = _newest(rows)
    log = watch_log(_uploads(videos), _interactions(feedback, since))
    if not len(log):
        raise TooLittle(f"{feedback}: no viewer watched a video to its end, liked, shared or commented on it yet")
    embeddings = np.stack(videos["embedding"].to_numpy(zero_copy_only=False)).astype(np.float32)
    return Watches(log, embeddings)


def _newest(videos: pa.Table) -> pa.Table:
    """Return of each video the newest row."""
    ordered = videos.append_column("row", pa.array(range(videos.num_rows))).sort_by("event_timestamp")
    last = ordered.group_by("video_id", use_threads=False).aggregate([("row", "last")])
    return videos.take(last["row_last"])


def _uploads(videos: pa.Table) -> Iterator[Upload]:
    columns = (videos["video_id"], videos["author_id"], videos["summary"], _ms(videos["event_timestamp"]))
    for video, author, summary, uploaded_at in zip(*(column.to_pylist() for column in columns), strict=True):
        # Its words are what the towers read, and a node of the API knows them of each video: the summary has the title in it.
        yield Upload(event_id=video, video_id=video, author_id=author, title=summary, uploaded_at=uploaded_at)


def _interactions(feedback: Path, since: str) -> Iterator[Interaction]:
    rows = FeedbackLog(feedback).read(["request_id", "user_id", "video_id", "position", "actions", "served_at"], since=since)
    rows = rows.set_column(rows.schema.get_field_index("served_at"), "served_at", _ms(rows["served_at"]))
    for batch in rows.to_batches(max_chunksize=ROWS_AT_ONCE):
        for row in batch.to_pylist():
            action = max((action for action in row["actions"] if action in WANTED), key=INTEREST.__getitem__, default=None)
            if action is not None:
                yield _interaction(row, action)


def _interaction(row: dict[str, Any], action: Action) -> Interaction:
    return Interaction(
        event_id=f"{row['request_id']}/{row['position']}",
        user_id=row["user_id"],
        video_id=row["video_id"],
        action=action,
        occurred_at=row["served_at"],
    )


def _ms(times: pa.ChunkedArray) -> pa.ChunkedArray:
    return times.cast(pa.timestamp("ms")).cast(pa.int64())


def size_of(feedback: Path) -> int:
    """Return how many places of pages the feedback log tells of, 0 where there is none."""
    return FeedbackLog(feedback).count()
