"""Feedback of simulated viewers (simulation/viewer.py) on real titles: pages as a house logs them, as many as a bench asks for.

The films are MovieLens-100K's, with their genres as topics. Each place of a page is drawn from a pool by a softmax over what
the viewer's own past says of its topics, so that the page's order is a simple recommender's, and its propensities are exact.
"""

from collections import Counter
from collections.abc import Mapping
from random import Random

import numpy as np

from simulation.client import Item, Page
from simulation.movielens import read
from simulation.viewer import Viewer, draw_viewers
from streams.events import Feedback, Interaction, Outcome
from streams.features import Vector
from streams.ports import Video
from streams.state.engagement import INTEREST
from streams.state.rewards import reward

PLACES, POOL = 8, 16
# How far a page follows what it knows of its viewer; more would leave nothing on it that is not wanted.
SHARPNESS = 1.0
# Viewers who are there at the same time.
COHORT = 5
# Between two pages of one viewer.
PAGE_EVERY_MS = 120_000


class Catalogue:
    """Real titles as the flows know videos: `streams.ports.Videos`. Each topic is a direction: likeness says something."""

    def __init__(self, *, seed: int, dimensions: int = 384) -> None:
        uploads = [upload for upload in read().uploads if upload.tags]
        topics = sorted({tag.lower() for upload in uploads for tag in upload.tags})
        directions = np.random.default_rng(seed).standard_normal((len(topics), dimensions)).astype(np.float32)
        of = dict(zip(topics, directions / np.linalg.norm(directions, axis=1, keepdims=True), strict=True))
        self.topics = tuple(topics)
        self.all: Mapping[str, Video] = {
            upload.video_id: Video(
                video_id=upload.video_id,
                author_id=upload.author_id,
                title=upload.title,
                embedding=_unit(sum((of[tag.lower()] for tag in upload.tags), np.zeros(dimensions, np.float32))),
                topics=tuple(tag.lower() for tag in upload.tags),
                duration_ms=15_000,
                kind="video",
            )
            for upload in uploads
        }

    def get(self, video_id: str) -> Video | None:
        """Return a video."""
        return self.all.get(video_id)

    def is_gone(self, video_id: str) -> bool:
        """Return that none is gone."""
        return False


def simulated(catalogue: Catalogue, *, viewers: int, pages: int, until: int, seed: int) -> list[Feedback]:
    """Return the feedback on `pages` pages of so many viewers, the last of them served at `until` (Unix ms).

    Viewers come one cohort after the other, so that the newest feedback is of viewers of whom there is no older.
    """
    rng, draw = Random(seed), np.random.default_rng(seed)
    crowd = draw_viewers(viewers, catalogue.topics, rng)
    liked: list[Counter[str]] = [Counter() for _ in crowd]
    ids = sorted(catalogue.all)
    made = []
    for number in range(pages):
        cohort, within = divmod(number, pages * COHORT // viewers)
        row = min(cohort * COHORT + within % COHORT, viewers - 1)
        at = until - (pages - 1 - number) * PAGE_EVERY_MS // COHORT
        page, chances = _page(catalogue, liked[row], ids, f"{crowd[row].user_id}-{number}", crowd[row], draw)
        made.append(_feedback(page, chances, crowd[row], liked[row], rng, at))
    return made


def _page(
    catalogue: Catalogue, liked: Counter[str], ids: list[str], request_id: str, viewer: Viewer, draw: np.random.Generator
) -> tuple[Page, list[dict[str, float]]]:
    pool = [ids[row] for row in draw.choice(len(ids), POOL, replace=False)]
    items, chances = [], []
    for position in range(PLACES):
        worth = np.array([max((liked[topic] for topic in catalogue.all[each].topics), default=0.0) for each in pool])
        odds = np.exp(SHARPNESS * np.clip(worth, -2.0, 2.0))
        shares = odds / odds.sum()
        row = int(draw.choice(len(pool), p=shares))
        video = catalogue.all[pool[row]]
        items.append(_item(video, position))
        chances.append(dict(zip(pool, shares.tolist(), strict=True)))
        del pool[row]
    return Page(request_id=request_id, user_id=viewer.user_id, items=tuple(items)), chances


def _item(video: Video, position: int) -> Item:
    return Item(
        video_id=video.video_id, position=position, title=video.title, topics=video.topics, duration_ms=video.duration_ms
    )


def _feedback(
    page: Page, chances: list[dict[str, float]], viewer: Viewer, liked: Counter[str], rng: Random, at: int
) -> Feedback:
    viewer.pages = 0
    reaction = viewer.react(page, rng, now=at)
    done: dict[str, list[Interaction]] = {}
    for interaction in reaction.interactions:
        done.setdefault(interaction.video_id, []).append(interaction)
    outcomes = []
    for item, rivals in zip(page.items, chances, strict=True):
        interactions = done.get(item.video_id, [])
        actions = tuple(dict.fromkeys(each.action for each in interactions))
        watch_ms = max((each.watch_ms or 0 for each in interactions), default=0)
        worth, parts = reward(actions, watch_ms=watch_ms, duration_ms=item.duration_ms)
        for topic in item.topics:
            liked[topic] += max((INTEREST[action] for action in actions), key=abs, default=0.0)  # type: ignore[assignment]
        outcomes.append(
            Outcome(
                video_id=item.video_id,
                position=item.position,
                propensity=rivals[item.video_id],
                source="simulated",
                actions=actions,
                watch_ms=watch_ms,
                reward=worth,
                parts=parts,
                rivals={video: chance for video, chance in rivals.items() if video != item.video_id},
            )
        )
    return Feedback(
        request_id=page.request_id, user_id=page.user_id, items=tuple(outcomes), served_at=at, closed_at=at + 60_000,
        policy_version="simulated", arm="control",
    )  # fmt: skip


def _unit(vector: Vector) -> Vector:
    return vector / np.float32(max(1e-9, float(np.linalg.norm(vector))))
