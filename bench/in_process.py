"""The feed's own pipeline, in process and with no server, among simulated viewers: for what takes an hour of pages to show.

Time is simulated: a page each second, new videos all the while, and statistics that follow from what was shown, so that the
rich get richer. The same world and seed bring the same viewers and uploads, whatever the feed is set to.
"""

from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from bench import world
from bench.world import World
from serving.feed.fairness.steering import Steered
from serving.feed.feed import Feed, build_feed
from serving.feed.page import Page
from serving.feed.query import Query
from serving.settings import FeedSettings
from streams.events import Perception, VideoStats
from streams.features import UserHistory, UserInterests, ViewerFeatures

SECOND_MS = 1_000
# Older than what counts as new, as most of a catalogue is.
OLD_MS = 3 * 86_400_000
# Of all videos: uploaded while a run lasts, and within the two days before it, so that new ones are there from the start.
UPLOADED = 0.01
YOUNG = 0.04
YOUNG_MS = 44 * 3_600_000
SWEEP_EVERY = 5
HISTORY = 200


@dataclass(frozen=True)
class Seen:
    """A page, how its exposure was steered, and the chance, on average, that its viewer watches a video of it to the end."""

    page: Page
    steered: Steered
    watched: float


async def pages(made: World, settings: FeedSettings, *, viewers: int, count: int) -> AsyncIterator[Seen]:
    """Yield `count` pages, each after its viewer has watched it."""
    rng = np.random.default_rng(made.seed)
    stored = _Viewers(_features(made, viewers))
    feed = build_feed(settings, stored, lambda _slate, _trace: None)
    with closing(feed.viewers):
        house = _House(made, feed, stored, rng)
        for number in range(count):
            now_ms = made.made_at + number * SECOND_MS
            house.upload(number, count, now_ms)
            if number % SWEEP_EVERY == 0:
                house.count(now_ms)
                feed.sweep(now_ms=now_ms, rng=rng)
            user = made.viewer(int(rng.integers(viewers)))
            query = Query(request_id=f"r-{number}", user_id=user, limit=10, now_ms=now_ms, rng=rng)
            page = await feed.pipeline.run(query)
            yield Seen(page, feed.fairness.now, house.show(page))


@dataclass(frozen=True)
class _Viewers:
    """Features whose histories grow with what is seen, as the profile flow's do."""

    rows: dict[str, ViewerFeatures]

    def viewer(self, user_id: str) -> ViewerFeatures:
        return self.rows[user_id]

    def saw(self, page: Page) -> None:
        user = page.query.user_id
        viewer = self.rows[user]
        history = viewer.history
        assert history is not None, "every viewer of the world has one"
        ids = [*history.video_ids, *(item.card.video.video_id for item in page.items)][-HISTORY:]
        weights = [*history.weights, *(0.0 for _ in page.items)][-HISTORY:]
        seen_at = [*history.seen_at, *(page.query.now_ms for _ in page.items)][-HISTORY:]
        self.rows[user] = structs.replace(
            viewer, history=structs.replace(history, video_ids=ids, weights=weights, seen_at=seen_at)
        )


class _House:
    """What is around the feed: uploads that come in, viewers who watch, statistics that follow from it."""

    def __init__(self, made: World, feed: Feed, stored: _Viewers, rng: np.random.Generator) -> None:
        self._made, self._feed, self._stored, self._rng = made, feed, stored, rng
        self._waiting: list[Perception] = []
        self._number = {made.video(number): number for number in range(made.videos)}
        authors, self._quality = _authors(made)
        drawn = np.random.default_rng(made.seed + 3).random(made.videos)
        late, new = drawn < UPLOADED, drawn < UPLOADED + YOUNG
        old: list[Perception] = []
        for number, (perception, author) in enumerate(zip(made.perceptions(), authors.tolist(), strict=True)):
            age_ms = (drawn[number] - UPLOADED) / YOUNG * YOUNG_MS if new[number] else OLD_MS
            upload = structs.replace(perception.video, author_id=f"author-{author}", uploaded_at=made.made_at - int(age_ms))
            (self._waiting if late[number] else old).append(structs.replace(perception, video=upload))
        counts = np.array([[s.impressions, s.completions, s.likes, s.plays] for s in made.stats()])
        # The better a video, the more popular it was, but for luck.
        luck = self._quality + np.random.default_rng(made.seed + 4).normal(0.0, 0.1, made.videos)
        self._counts = np.empty_like(counts)
        self._counts[np.argsort(-luck)] = counts[np.argsort(-counts[:, 0])]
        self._counts[new] = 0.0
        self._touched = set(np.flatnonzero(~new).tolist())
        feed.catalogue.put(old, now_ms=made.made_at)

    def upload(self, number: int, of: int, now_ms: int) -> None:
        """Let videos come in evenly over the run."""
        due = len(self._waiting) * (number + 1) // of - len(self._waiting) * number // of
        first = len(self._waiting) * number // of
        fresh = [
            structs.replace(each, video=structs.replace(each.video, uploaded_at=now_ms))
            for each in self._waiting[first : first + due]
        ]
        if fresh:
            self._feed.catalogue.put(fresh, now_ms=now_ms)

    def show(self, page: Page) -> float:
        """Let the viewer watch a page; return the share of it that such a viewer watches to the end, on average."""
        interests = self._stored.viewer(page.query.user_id).interests
        assert interests is not None, "every viewer of the world has them"
        numbers = np.array([self._number[item.card.video.video_id] for item in page.items])
        chance = self._chance(numbers, interests.long)
        watched = self._rng.random(len(numbers)) < chance
        liked = watched & (self._rng.random(len(numbers)) < 0.2)
        self._counts[numbers] += np.column_stack([np.ones(len(numbers)), watched, liked, watched])
        self._touched.update(numbers.tolist())
        self._stored.saw(page)
        return float(chance.mean())

    def _chance(self, numbers: NDArray[np.int64], loved: NDArray[np.float32]) -> NDArray[np.float64]:
        near = np.maximum(0.0, self._made.embeddings[numbers] @ loved).astype(np.float64)
        chance: NDArray[np.float64] = self._quality[numbers] * (0.1 + 0.9 * near)
        return chance

    def count(self, now_ms: int) -> None:
        """Hand the catalogue the statistics of what was watched since; a run is too short for them to decay."""
        for number in self._touched:
            impressions, completions, likes, plays = self._counts[number].tolist()
            self._feed.catalogue.set_stats(
                VideoStats(
                    video_id=self._made.video(number),
                    as_of=now_ms,
                    impressions=impressions,
                    completions=completions,
                    likes=likes,
                    plays=plays,
                    total_impressions=int(impressions),
                )
            )
        self._touched.clear()


def _authors(made: World) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each video's author and how good it is, 0..1: few authors have many videos, and some are better than others."""
    rng = np.random.default_rng(made.seed + 5)
    count = made.videos // world.VIDEOS_PER_AUTHOR
    size = 1.0 / (1.0 + np.arange(count)) ** 0.5
    authors = rng.choice(count, size=made.videos, p=size / size.sum())
    talent = rng.normal(0.0, 1.0, count)
    return authors, 1.0 / (1.0 + np.exp(-talent[authors] - rng.normal(0.0, 0.5, made.videos)))


def _features(made: World, viewers: int) -> dict[str, ViewerFeatures]:
    interests: dict[str, UserInterests] = {}
    histories: dict[str, UserHistory] = {}
    for row in made.features(viewers):
        if isinstance(row, UserInterests):
            interests[row.user_id] = row
        elif isinstance(row, UserHistory):
            histories[row.user_id] = row
    return {user: ViewerFeatures(user_id=user, interests=interests[user], history=histories[user]) for user in interests}
