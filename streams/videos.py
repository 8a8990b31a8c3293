"""What the flows know of videos: a table in memory, filled from the compacted topic `perceptions`."""

from streams.codec import MAX_AGE_MS, unpack_vector
from streams.events import Perception
from streams.follower import Followed, Follower
from streams.kafka import KafkaSettings
from streams.ports import Video
from streams.topics import PERCEPTIONS

# Interactions with a video may come this long after they were made. Then nobody asks any more whether it is gone.
GONE_FOR_MS = MAX_AGE_MS + 86_400_000


class VideoTable:
    """The newest perception of each video. Reads are safe while it is being filled."""

    def __init__(self) -> None:
        self._videos: dict[str, Video] = {}
        self._gone: dict[str, int] = {}

    def follow(self, kafka: KafkaSettings, *, timeout_s: float = 120.0) -> Follower:
        """Fill the table from the broker, and go on; return once all that is there was read, or raise TimeoutError."""
        return Follower(kafka, [PERCEPTIONS], self.take_in, name="videos").start(timeout_s=timeout_s)

    def take_in(self, followed: list[Followed]) -> None:
        """Take in a batch of the topic."""
        for item in followed:
            if item.event is None:
                self._videos.pop(item.key, None)
                self._gone[item.key] = item.appended_at
            else:
                self._videos[item.key] = video_of(item.event)
                self._gone.pop(item.key, None)
        while self._gone and (oldest := next(iter(self._gone))) and self._gone[oldest] < followed[-1].appended_at - GONE_FOR_MS:
            del self._gone[oldest]

    def get(self, video_id: str) -> Video | None:
        """Return the video, or None where it was not perceived yet or is gone."""
        return self._videos.get(video_id)

    def is_gone(self, video_id: str) -> bool:
        """Return whether the video was taken out."""
        return video_id in self._gone

    def __len__(self) -> int:
        return len(self._videos)


def video_of(perception: Perception) -> Video:
    """Return what the flows need of a perception."""
    upload = perception.video
    return Video(
        video_id=upload.video_id,
        author_id=upload.author_id,
        title=upload.title,
        summary=perception.summary,
        embedding=unpack_vector(perception.embedding),
        topics=tuple(topic.name for topic in perception.topics),
        duration_ms=upload.duration_ms,
        kind=upload.kind,
    )
