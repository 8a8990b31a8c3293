"""The topics: what each carries, what keys it, how many partitions it has and how long it keeps events."""

from dataclasses import dataclass
from typing import Any

from streams import events

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class Topic:
    """One Kafka topic. `compacted` keeps the newest event of each key; events go after `retention_ms`, None: never."""

    name: str
    carries: Any
    key: str
    partitions: int = 4
    compacted: bool = False
    retention_ms: int | None = 7 * DAY_MS

    def config(self) -> dict[str, str]:
        """Return the broker's settings for this topic."""
        # The broker's clock, not the producer's: an event's time is judged against when it came.
        stamped = {"message.timestamp.type": "LogAppendTime"}
        policies = ["compact"] * self.compacted + ["delete"] * (self.retention_ms is not None)
        kept = {} if self.retention_ms is None else {"retention.ms": str(self.retention_ms)}
        return stamped | {"cleanup.policy": ",".join(policies)} | kept


UPLOADS = Topic("uploads", events.UploadEvent, "video_id")
INTERACTIONS = Topic("interactions", events.InteractionEvent, "user_id")
PERCEPTIONS = Topic("perceptions", events.Perception, "video_id", compacted=True, retention_ms=None)
VIDEO_STATS = Topic("video-stats", events.VideoStats, "video_id", compacted=True, retention_ms=None)
SLATES = Topic("slates", events.Slate, "user_id", retention_ms=DAY_MS)
PLANS = Topic("plans", events.Plan, "user_id", compacted=True, retention_ms=DAY_MS)
FEEDBACK = Topic("feedback", events.Feedback, "user_id", retention_ms=30 * DAY_MS)
RELEASES = Topic("releases", events.Release, "name", partitions=1, compacted=True, retention_ms=None)
DEAD_LETTERS = Topic("dead-letters", events.DeadLetter, "letter_id", partitions=1, compacted=True, retention_ms=30 * DAY_MS)
PURGES = Topic("purges", events.Purged, "subject_id", partitions=1, retention_ms=30 * DAY_MS)
HEARTBEATS = Topic("heartbeats", events.Heartbeat, "process", partitions=1, retention_ms=HOUR_MS)
SPANS = Topic("spans", events.Span, "trace_id", partitions=1, retention_ms=HOUR_MS)

TOPICS = (
    UPLOADS, INTERACTIONS, PERCEPTIONS, VIDEO_STATS, SLATES, PLANS, FEEDBACK, RELEASES, DEAD_LETTERS, PURGES, HEARTBEATS, SPANS,
)  # fmt: skip
# What comes from outside, with times that were not made here.
FROM_PRODUCERS = (UPLOADS, INTERACTIONS)
BY_NAME = {topic.name: topic for topic in TOPICS}
