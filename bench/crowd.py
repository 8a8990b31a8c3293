"""A house in one process for the ranker's bench: the real feed, the real states of the flows, simulated viewers between them.

What flows and servers do with each event is done here in order and at once, by the same objects; time is made up. How much a
viewer would like each video is known, as it is in no real log: taste by topic, as the simulated audience has it, and the
quality of the video, which nobody is told and engagement gives away.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.world import VIDEOS_PER_AUTHOR, unit
from serving.feed.feed import Feed, build_feed
from serving.feed.page import Page
from serving.feed.query import Query
from serving.settings import FeedSettings
from simulation import client
from simulation.audience import topics
from simulation.viewer import Viewer, draw_viewers
from streams.codec import pack_vector
from streams.events import Feedback, Interaction, Perception, Slate, TopicScore, Upload
from streams.features import UserActivity, UserHistory, UserInterests, ViewerFeatures
from streams.ports import Video
from streams.settings import FlowSettings
from streams.state import viewer as profile
from streams.state.attribution import Attribution
from streams.state.engagement import VideoEngagementState
from streams.state.interests import DIMENSIONS

if TYPE_CHECKING:
    from models.ranking.ranker import Ranker

BEGAN_AT = 1_800_000_000_000
HOUR_MS = 3_600_000
# Shelves are renewed after so many pages: in a house, every two seconds.
SWEEP_EVERY = 20
# Standard deviation of a video's quality, in logits of interest: about as much as taste.
QUALITY = 1.0
# Of a video's vector, what is not its topic's: cosines within a topic are about 0.7.
SPREAD = 1.0


@dataclass
class Judge(Viewer):
    """A simulated viewer to whom a video's quality matters as well as what it is about."""

    quality: dict[str, float] = field(default_factory=dict)

    def interest(self, item: client.Item) -> float:
        """Return how much this viewer wants to see `item`, 0..1."""
        taste = min(0.97, max(0.03, super().interest(item)))
        return float(1 / (1 + (1 / taste - 1) * np.exp(-self.quality[item.video_id])))


@dataclass(frozen=True)
class Served:
    """One page, what its viewer thought of each video (0..1), and what the best of its candidates would have been worth."""

    user_id: str
    slate: Slate
    interest: tuple[float, ...]
    best: float


class Crowd:
    """Viewers and videos; `feedback` is what the feedback flow would have published so far."""

    def __init__(self, *, viewers: int, videos: int, seed: int, ranker: "Callable[[], Ranker | None]") -> None:
        self._dice, self._rng = Random(seed), np.random.default_rng(seed)
        self.now = BEGAN_AT
        self.feedback: list[Feedback] = []
        self._slates: list[Slate] = []
        # The deadline is for a busy server; here a page waits for nothing.
        settings = FeedSettings(features_timeout_s=60.0)
        self.feed: Feed = build_feed(
            settings, self, lambda slate, _trace: self._slates.append(slate), ranker=lambda user_id: ranker()
        )
        self._videos: dict[str, Video] = {}
        self._items: dict[str, client.Item] = {}
        self._quality: dict[str, float] = {}
        self._upload(videos)
        drawn = draw_viewers(viewers, topics(), self._dice)
        self.viewers = [Judge(each.user_id, each.taste, each.traits, each.session_id, quality=self._quality) for each in drawn]
        self._profiles = {each.user_id: profile.Viewer() for each in drawn}
        self._open = {each.user_id: Attribution() for each in drawn}
        self._stats: dict[str, VideoEngagementState] = {}
        self._pages = 0

    def _upload(self, count: int) -> None:
        names = topics()
        centres = unit(self._rng.standard_normal((len(names), DIMENSIONS), dtype=np.float32))
        topic_of = self._rng.integers(len(names), size=count)
        noise = unit(self._rng.standard_normal((count, DIMENSIONS), dtype=np.float32))
        vectors = unit(centres[topic_of] + SPREAD * noise)
        # Uploads of the last six days, as the feed shows a week's.
        ages_h = self._rng.uniform(0.0, 144.0, count)
        perceptions = [self._perceive(n, names[topic_of[n]], vectors[n], float(ages_h[n])) for n in range(count)]
        self.feed.catalogue.put(perceptions, now_ms=self.now)

    def _perceive(self, number: int, topic: str, vector: NDArray[np.float32], age_h: float) -> Perception:
        video_id, author = f"v{number}", f"author-{number // VIDEOS_PER_AUTHOR}"
        duration_ms = int(self._rng.uniform(5_000, 60_000))
        self._quality[video_id] = float(self._rng.normal(0.0, QUALITY))
        self._items[video_id] = client.Item(
            video_id=video_id, position=0, title=f"Clip {number}", author_id=author, topics=(topic,), duration_ms=duration_ms
        )
        self._videos[video_id] = Video(
            video_id=video_id, author_id=author, title=f"Clip {number}", embedding=vector, topics=(topic,), kind="video",
            duration_ms=duration_ms,
        )  # fmt: skip
        upload = Upload(
            event_id=video_id, video_id=video_id, author_id=author, title=f"Clip {number}", duration_ms=duration_ms,
            uploaded_at=self.now - int(age_h * HOUR_MS),
        )  # fmt: skip
        return Perception(
            video=upload, stage="frames", summary="", topics=(TopicScore(topic, 0.9),), embedding=pack_vector(vector),
            model_version="bench", perceived_at=self.now,
        )  # fmt: skip

    # ── the ports of feed and profile ────────────────────────────────────────────────────────────────────────────────

    def viewer(self, user_id: str) -> ViewerFeatures:
        """Return a viewer's features, as the feature store has them."""
        found = ViewerFeatures(user_id=user_id)
        known = self._profiles[user_id]
        if not known.newest_at:
            return found
        rows = {type(row): row for row in known.rows(user_id)}
        return ViewerFeatures(
            user_id=user_id,
            activity=rows[UserActivity],  # type: ignore[arg-type]
            interests=rows[UserInterests],  # type: ignore[arg-type]
            history=rows[UserHistory],  # type: ignore[arg-type]
        )

    def get(self, video_id: str) -> Video | None:
        """Return what the flows know of a video."""
        return self._videos.get(video_id)

    def is_gone(self, video_id: str) -> bool:
        """No video goes."""
        return False

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def visit(self, pause_ms: int) -> Served:
        """Let one viewer, drawn by how active each is, look at a page, `pause_ms` after the page before."""
        self.now += pause_ms
        if self._pages % SWEEP_EVERY == 0:
            # Eviction is for a clock that goes on for days; here the catalogue stays.
            self.feed.shelves.renew(now_ms=self.now, rng=self._rng)
        self._pages += 1
        viewer = self._dice.choices(self.viewers, [each.traits.activity for each in self.viewers])[0]
        query = Query(request_id=f"r{self._pages}", user_id=viewer.user_id, limit=10, now_ms=self.now, rng=self._rng)
        page = await self.feed.pipeline.run(query)
        slate = self._slates.pop()
        served = self._judged(viewer, page, slate)
        settings, state = FlowSettings(), self._open[viewer.user_id]
        self.feedback += state.close(self.now, settings)
        state.on_slate(slate, self.now, settings)
        shown = tuple(self._shown(item.video_id, item.position, item.source) for item in slate.items)
        reaction = viewer.react(
            client.Page(request_id=slate.request_id, user_id=viewer.user_id, items=shown), self._dice, now=self.now
        )
        for interaction in reaction.interactions:
            state.on_interaction(interaction, self.now, settings)
        self._learn(viewer.user_id, reaction.interactions)
        if reaction.left:
            viewer.pages, viewer.session_id = 0, f"{viewer.user_id}-{self._pages}"
        return served

    def end(self) -> list[Feedback]:
        """Close every page that is open, and return all feedback since the last end."""
        self.now += HOUR_MS
        for state in self._open.values():
            self.feedback += state.close(self.now, FlowSettings())
        made, self.feedback = self.feedback, []
        return made

    def _shown(self, video_id: str, position: int, source: str) -> client.Item:
        item = self._items[video_id]
        return client.Item(
            video_id=video_id, position=position, title=item.title, author_id=item.author_id, topics=item.topics, source=source,
            duration_ms=item.duration_ms,
        )  # fmt: skip

    def _judged(self, viewer: Judge, page: Page, slate: Slate) -> Served:
        worth = {video_id: viewer.interest(self._items[video_id]) for video_id in slate.pool}
        interest = tuple(worth[item.video_id] for item in slate.items)
        best = float(np.mean(sorted(worth.values(), reverse=True)[: len(interest)]))
        return Served(page.query.user_id, slate, interest, best)

    def _learn(self, user_id: str, interactions: tuple[Interaction, ...]) -> None:
        _, engaged = self._profiles[user_id].apply(interactions, self, self.now)
        for each in engaged:
            state = self._stats.setdefault(each.video_id, VideoEngagementState())
            state.apply(each)
        for video_id in {each.video_id for each in engaged}:
            self.feed.catalogue.set_stats(self._stats[video_id].stats(video_id))


def visits(crowd: Crowd, count: int, pause_ms: int, *, before: Callable[[int], None] = lambda number: None) -> list[Served]:
    """Return `count` pages; `before` is called with the number of each page before it is made."""

    async def all_of_them() -> list[Served]:
        pages = []
        for number in range(count):
            before(number)
            pages.append(await crowd.visit(pause_ms))
        return pages

    return asyncio.run(all_of_them())
