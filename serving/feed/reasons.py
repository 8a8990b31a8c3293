"""Why a video is on the page, in words that its viewer understands."""

from collections.abc import Collection

import numpy as np

from models.viewers.steering import about
from serving.catalogue import Card, Catalogue
from serving.columns import Floats
from serving.feed.query import Query
from streams.state.engagement import INTEREST

# Above this cosine two titles are about the same thing, as a viewer would see it.
_ALIKE = 0.35
# About a wish by at least this much, as `about` measures it.
_ASKED_FOR = 0.5
_LIKE = INTEREST["like"]
# What a source alone says, where nothing nearer to the viewer is true.
_GENERAL = {"wanted-next": "Goes with what you watched lately", "popular": "Popular right now"}
# What was uploaded longer ago was not "just" uploaded.
_JUST_MS = 24 * 3_600_000


def reason(
    query: Query, row: int, card: Card, catalogue: Catalogue, *, explored: bool, again: bool, found_by: Collection[str]
) -> str:
    """Return the strongest true reason."""
    vector = catalogue.vectors(np.array([row], dtype=np.int64))[0]
    history = query.viewer.history
    wish = _wish(query, vector)
    if again:
        return "You have seen what is new: worth another look"
    if wish is not None:
        return f"You asked for more {wish}"
    if card.video.kind == "live":
        return "Live now"
    if history is not None and card.video.author_id in history.followed:
        return f"From @{card.video.author_id}, whom you follow"
    if explored:
        return "New: you are among the first to see it"
    general = next((words for source, words in _GENERAL.items() if source in found_by), None) or _by_age(query, card)
    return _taste(query, card, vector, catalogue) or _planned(query, card) or general


def _by_age(query: Query, card: Card) -> str:
    just = query.now_ms - card.video.uploaded_at < _JUST_MS
    return "Just uploaded" if just else "Something you have not seen yet"


def _wish(query: Query, vector: Floats) -> str | None:
    wanted = query.wishes.weights > 0
    if not wanted.any():
        return None
    near = np.where(wanted, about(query.wishes.vectors, vector[np.newaxis])[:, 0], 0.0)
    best = int(near.argmax())
    return query.wishes.texts[best] if near[best] >= _ASKED_FOR else None


def _taste(query: Query, card: Card, vector: Floats, catalogue: Catalogue) -> str | None:
    taste, interests = query.taste, query.viewer.interests
    if len(taste.liked):
        near = taste.liked_vectors @ vector
        nearest = int(near.argmax())
        if near[nearest] >= _ALIKE:
            did = "liked" if taste.liked_weights[nearest] >= _LIKE else "watched"
            return f"Because you {did} “{catalogue.card(int(taste.liked[nearest])).video.title}”"
    if interests is not None:
        shared = next((topic for topic in interests.topics if topic in card.topics), None)
        if shared is not None:
            return f"More {shared}, like you watched lately"
    return None


def _planned(query: Query, card: Card) -> str | None:
    ranking = query.plan.ranking if query.plan is not None else ()
    return next((item.reason for item in ranking if item.video_id == card.video.video_id and item.reason), None)
