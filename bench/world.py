"""Synthetic catalogues and viewers for the benches: as many as a promise names, the same for the same seed.

Videos lie around topics in the embedding space, popularity is Zipf's, and viewers go through videos as people do: an impression
each, a look at most, a like for some. Times are now.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from streams.codec import pack_vector
from streams.events import Action, Interaction, Perception, TopicScore, Upload, VideoStats
from streams.features import UserActivity, UserHistory, UserInterests, Vector

DIMENSIONS = 384
TOPICS = 40
VIDEOS_PER_AUTHOR = 20
# Cosine of about 0.7 between a video and its topic's centre: what sentence encoders show within a topic.
SPREAD = 1.0
# Shares of what viewers do with a video that they were shown, after MicroLens' and KuaiRand's published rates.
SEQUENCES: tuple[tuple[float, tuple[Action, ...]], ...] = (
    (0.45, ("impression", "skip")),
    (0.30, ("impression", "play", "progress")),
    (0.20, ("impression", "play", "complete")),
    (0.05, ("impression", "play", "complete", "like")),
)

# What an app sends at once: what its viewer did with the last three or so videos.
APP_BATCH = 10
AtOnce = Annotated[int, typer.Option(min=1, max=1000, help="a viewer's events in a row, as its app sends them; 1: none")]


@dataclass(frozen=True)
class World:
    """A catalogue of `embeddings`, (videos, 384), each video with its topic. Ids carry the seed: two worlds share none."""

    seed: int
    embeddings: NDArray[np.float32]
    topic_of: NDArray[np.int64]
    popularity: NDArray[np.float64]
    made_at: int

    @property
    def videos(self) -> int:
        return len(self.topic_of)

    def video(self, number: int) -> str:
        """Return the id of video `number`."""
        return f"bench-{self.seed}-{number}"

    def viewer(self, number: int) -> str:
        """Return the id of viewer `number`."""
        return f"bench-{self.seed}-viewer-{number}"

    def perceptions(self) -> Iterator[Perception]:
        """Yield each video as the perceive flow would have published it, uploaded within the last two days."""
        ages = np.random.default_rng(self.seed).integers(0, 2 * 86_400_000, self.videos)
        for number, (topic, age) in enumerate(zip(self.topic_of, ages, strict=True)):
            upload = Upload(
                event_id=f"bench-{self.seed}-upload-{number}",
                video_id=self.video(number),
                author_id=f"author-{number // VIDEOS_PER_AUTHOR}",
                title=f"Video {number} of topic {topic}",
                duration_ms=15_000,
                uploaded_at=self.made_at - int(age),
            )
            yield Perception(
                video=upload,
                stage="frames",
                summary=upload.title,
                topics=(TopicScore(f"topic-{topic}", 0.9),),
                embedding=pack_vector(self.embeddings[number]),
                model_version="bench",
                perceived_at=self.made_at,
            )

    def stats(self) -> Iterator[VideoStats]:
        """Yield each video's engagement: as much as its popularity brings."""
        impressions = np.ceil(self.popularity * self.videos * 50).astype(int)
        for number, shown in enumerate(impressions.tolist()):
            yield VideoStats(
                video_id=self.video(number),
                as_of=self.made_at,
                impressions=shown,
                plays=shown * 0.5,
                completions=shown * 0.25,
                watch_share=0.4,
                likes=shown * 0.05,
                total_impressions=shown,
            )

    def interactions(self, viewers: int, events: int, *, per_s: int = 1_000, at_once: int = 1) -> Iterator[Interaction]:
        """Yield `events` interactions, `per_s` a second up to now, `at_once` of a viewer's in a row.

        An app sends what a viewer did with the last few videos at once; with 1, every neighbour is another viewer's.
        """
        rng = np.random.default_rng(self.seed + 1)
        shares = [share for share, _ in SEQUENCES]
        left: list[list[tuple[str, Action]]] = [[] for _ in range(viewers)]
        sent = 0
        while sent < events:
            count = min(10_000, events - sent)
            drawn = zip(
                np.repeat(rng.integers(viewers, size=-(-count // at_once)), at_once)[:count].tolist(),
                rng.choice(self.videos, size=count, p=self.popularity).tolist(),
                rng.choice(len(SEQUENCES), size=count, p=shares).tolist(),
                strict=True,
            )
            for viewer, video, sequence in drawn:
                if not left[viewer]:
                    left[viewer] = [(self.video(video), action) for action in reversed(SEQUENCES[sequence][1])]
                shown, action = left[viewer].pop()
                yield Interaction(
                    event_id=f"bench-{self.seed}-{sent}",
                    user_id=self.viewer(viewer),
                    video_id=shown,
                    action=action,
                    occurred_at=self.made_at - (events - sent) * 1000 // per_s,
                    watch_ms={"progress": 9_000, "skip": 1_200}.get(action),
                )
                sent += 1

    def features(self, viewers: int) -> Iterator[UserActivity | UserInterests | UserHistory]:
        """Yield the features of `viewers` who each love two topics and have seen 100 videos."""
        rng = np.random.default_rng(self.seed + 2)
        for number in range(viewers):
            user, seen = self.viewer(number), rng.choice(self.videos, size=min(100, self.videos // 2), replace=False)
            short, long = (unit(self.embeddings[rng.integers(self.videos)]) for _ in range(2))
            yield UserActivity(
                user_id=user, as_of=self.made_at, events=300, impressions=100, plays=60, completes=30, likes=10, skips=40,
                skip_streak=0, session_id=f"s-{number}", session_events=30, session_watch_ms=200_000,
            )  # fmt: skip
            yield UserInterests(
                user_id=user, as_of=self.made_at, short=short, long=long, short_weight=3.0, long_weight=20.0, topics=["topic-1"]
            )
            yield UserHistory(
                user_id=user,
                as_of=self.made_at,
                video_ids=[self.video(video) for video in seen],
                weights=rng.uniform(-0.5, 1.0, len(seen)).tolist(),
                seen_at=[self.made_at] * len(seen),
                followed=[f"author-{rng.integers(max(1, self.videos // VIDEOS_PER_AUTHOR))}"],
                blocked=[],
            )


def make(videos: int, seed: int = 1) -> World:
    """Return a world of `videos` around 40 topics."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((TOPICS, DIMENSIONS), dtype=np.float32))
    topic_of = rng.integers(TOPICS, size=videos)
    noise = unit(rng.standard_normal((videos, DIMENSIONS), dtype=np.float32))
    popularity = 1.0 / (1.0 + rng.permutation(videos)) ** 0.9
    return World(
        seed=seed,
        embeddings=unit(centres[topic_of] + SPREAD * noise),
        topic_of=topic_of,
        popularity=popularity / popularity.sum(),
        made_at=time.time_ns() // 1_000_000,
    )


def unit(vectors: NDArray[np.float32]) -> Vector:
    """Return `vectors`, (…, d), at length 1."""
    lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / lengths
