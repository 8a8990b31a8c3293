"""A small world for serving's tests: videos by topic, viewers, and the ports kept in memory."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.settings import LearningSettings, MediaSettings
from serving.catalogue import Catalogue
from serving.experiments.settings import ExperimentSettings
from serving.feed.page import Page
from serving.feed.query import Query
from serving.node import Check, Node
from serving.settings import ApiSettings, FeedSettings
from streams.codec import pack_vector
from streams.events import Event, Perception, TopicScore, Upload, VideoStats
from streams.features import UserHistory, UserInterests, ViewerFeatures
from streams.kafka import NotAccepted
from streams.topics import Topic

NOW = 1_800_000_000_000
HOUR = 3_600_000
TOPICS = ("cooking", "politics", "music", "animals", "sports")


def topic_vector(topic: str) -> NDArray[np.float32]:
    """Return the direction of a topic, (384,)."""
    vector = np.zeros(384, dtype=np.float32)
    vector[TOPICS.index(topic)] = 1.0
    return vector


def near(topic: str, seed: int) -> NDArray[np.float32]:
    """Return a unit vector of cosine about 0.9 to the topic's."""
    noise = np.random.default_rng(seed).normal(size=384).astype(np.float32)
    vector = topic_vector(topic) + 0.5 * noise / np.linalg.norm(noise)
    return vector / np.linalg.norm(vector)


def perception(
    video_id: str, topic: str = "cooking", *, author: str = "ann", age_h: float = 1.0, **changes: object
) -> Perception:
    """Return a perception; `changes` are fields of it, or `kind` and `media_uri` of its upload."""
    upload = Upload(
        event_id=f"e-{video_id}",
        video_id=video_id,
        author_id=author,
        title=f"About {topic}: {video_id}",
        uploaded_at=int(NOW - age_h * HOUR),
        kind=changes.pop("kind", "video"),  # type: ignore[arg-type]
        media_uri=changes.pop("media_uri", None),  # type: ignore[arg-type]
    )
    fields: dict[str, object] = {
        "stage": "title",
        "summary": f"A video about {topic}",
        "topics": (TopicScore(topic, 0.9),),
        "embedding": pack_vector(near(topic, zlib.crc32(video_id.encode()))),
        "model_version": "m1",
        "perceived_at": NOW,
    }
    return Perception(video=upload, **(fields | changes))  # type: ignore[arg-type]


def viewer(
    user_id: str, *, likes: str | None = None, history: dict[str, float] | None = None, followed: Sequence[str] = (),
    blocked: Sequence[str] = (),
) -> ViewerFeatures:  # fmt: skip
    """Return a viewer who likes a topic, and who saw the videos of `history`, oldest first."""
    seen = history or {}
    interests = None if likes is None else UserInterests(
        user_id=user_id, as_of=NOW, short=topic_vector(likes), long=topic_vector(likes), short_weight=2.0, long_weight=5.0,
        topics=[likes],
    )  # fmt: skip
    return ViewerFeatures(
        user_id=user_id,
        interests=interests,
        history=UserHistory(
            user_id=user_id,
            as_of=NOW,
            video_ids=list(seen),
            weights=list(seen.values()),
            seen_at=[NOW - 1000 * (len(seen) - place) for place in range(len(seen))],
            followed=list(followed),
            blocked=list(blocked),
        ),
    )


@dataclass
class StoredViewers:
    """Viewers' features in a dict; `away` makes every read fail as a lost Redis does."""

    rows: dict[str, ViewerFeatures] = field(default_factory=dict)
    away: bool = False

    def viewer(self, user_id: str) -> ViewerFeatures:
        if self.away:
            raise ConnectionError("Redis is away")
        return self.rows.get(user_id) or ViewerFeatures(user_id=user_id)


@dataclass
class Published:
    """A broker in a list; one that is `full` takes nothing, as a real one whose queue has no room."""

    events: list[tuple[Topic, Event, str | None]] = field(default_factory=list)
    full: bool = False
    then: Callable[[Event], None] = lambda _event: None

    async def publish(self, topic: Topic, events: Sequence[Event], *, trace: str | None = None) -> None:
        for event in events:
            self.send(topic, event, trace=trace)

    def send(self, topic: Topic, event: Event, *, trace: str | None = None) -> None:
        if self.full:
            raise NotAccepted("the queue is full")
        self.events.append((topic, event, trace))
        self.then(event)

    def of(self, topic: Topic) -> list[Event]:
        return [event for name, event, _ in self.events if name is topic]

    def __len__(self) -> int:
        return 0


@dataclass
class World:
    """A node with its ports in memory, at a time that stands still unless it is moved."""

    node: Node
    stored: StoredViewers
    published: Published
    now: int = NOW
    perception = staticmethod(perception)
    viewer = staticmethod(viewer)
    topic_vector = staticmethod(topic_vector)

    @property
    def catalogue(self) -> Catalogue:
        return self.node.feed.catalogue

    def put(self, *perceptions: Perception) -> None:
        """Make videos servable and fill the shelves."""
        self.catalogue.put(perceptions, now_ms=self.now)
        self.sweep()

    def add_viewer(self, user_id: str = "u", **features: Any) -> None:
        """Store a viewer's features, as `viewer` makes them."""
        self.stored.rows[user_id] = viewer(user_id, **features)

    def put_stats(self, video_id: str, **counts: float) -> None:
        self.catalogue.set_stats(VideoStats(video_id=video_id, as_of=self.now, **counts))  # type: ignore[arg-type]
        self.sweep()

    def sweep(self) -> None:
        self.node.feed.sweep(now_ms=self.now, rng=np.random.default_rng(0))

    def query(self, user_id: str = "u", *, limit: int = 10, seed: int = 0) -> Query:
        return Query(request_id=f"r-{seed}", user_id=user_id, limit=limit, now_ms=self.now, rng=np.random.default_rng(seed))

    async def page(self, user_id: str = "u", *, limit: int = 10, seed: int = 0) -> Page:
        return await self.node.feed.pipeline_of(user_id).run(self.query(user_id, limit=limit, seed=seed))


Build = Callable[..., World]


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a function that makes worlds, by the settings of the feed and the API."""

    def make(
        feed: FeedSettings | None = None,
        *,
        ranker: Callable[[str], Any] | None = lambda user_id: None,
        experiments: ExperimentSettings | None = None,
        learning: LearningSettings | None = None,
        **api: object,
    ) -> World:
        stored, published = StoredViewers(), Published()
        media_dir = tmp_path_factory.mktemp("media")

        async def checks() -> list[Check]:
            return [Check(name="features", ok=not stored.away, required=False)]

        settings = {"media_dir": str(media_dir), "posters_dir": str(media_dir / "posters"), "purge_wait_s": 0.05} | api
        node = Node(
            ApiSettings.model_validate(settings),
            # The deadline is for a busy production node; on a busy test machine a thread may take longer to start.
            feed or FeedSettings(features_timeout_s=5.0),
            MediaSettings(roots=(media_dir,)),
            publisher=published,
            viewers=stored,
            checks=checks,
            clock=lambda: world.now,
            rng=np.random.default_rng(0),
            ranker=ranker,
            experiments=experiments,
            learning=learning,
        )
        world = World(node, stored, published)
        return world

    return make


@pytest.fixture
def world(build: Build) -> World:
    """A world of 60 videos: 12 on each of 5 topics, by 20 authors, an hour or more old."""
    world = build()
    world.put(
        *(
            perception(f"{topic}-{n}", topic, author=f"author-{(n * 5 + t) % 20}", age_h=1.0 + n)
            for t, topic in enumerate(TOPICS)
            for n in range(12)
        )
    )
    return world
