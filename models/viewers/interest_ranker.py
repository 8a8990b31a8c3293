"""Ranks for one viewer by interests and wishes: the rerank flow's `Ranker` where no language model is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.perception.encoders import TextEncoder
from models.perception.topics import Topics
from models.viewers.instructions import wishes
from models.viewers.steering import about
from streams.codec import pack_vector, unpack_vector
from streams.events import PlanItem, Steer
from streams.features import UserInterests, Vector, ViewerFeatures
from streams.ports import PlanRequest, Ranking, Video, Videos

# The mood of this half hour before the taste of these weeks, but not instead of it.
SHORT_SHARE = 0.6
# Interests are at most 1 apart in practice: what a viewer said in words outweighs all that was guessed of them.
STRENGTH = 2.0
# Similarity to an interest from which a viewer would agree that it is alike.
ALIKE = 0.25


POLICY = "interest-1"


@dataclass(frozen=True)
class Placed:
    """A video in its place, and whether a wish put it there."""

    video: Video
    item: PlanItem
    wished: bool


class InterestRanker:
    """Orders a pool by similarity to a viewer's interests, and before that by what they asked for in words."""

    def __init__(self, encoder: TextEncoder, videos: Videos) -> None:
        self._encoder = encoder
        self._videos = videos
        self._topics = Topics(encoder)

    def steer(self, texts: Sequence[str]) -> list[tuple[Steer, ...]]:
        """Return each instruction's wishes, with embeddings made in one request. Raises PerceptionUnavailable."""
        asked = [wishes(text) for text in texts]
        phrases = list(dict.fromkeys(phrase for wanted in asked for phrase, _ in wanted))
        if not phrases:
            return [() for _ in texts]
        directions = self._topics.directions(self._encoder.texts(phrases))
        packed = {phrase: pack_vector(direction) for phrase, direction in zip(phrases, directions, strict=True)}
        return [
            tuple(Steer(text=phrase, weight=weight, embedding=packed[phrase]) for phrase, weight in wanted) for wanted in asked
        ]

    def rank(self, request: PlanRequest, viewer: ViewerFeatures) -> Ranking:
        """Return the pool, best first, with a reason in the viewer's words for each; videos that are gone are left out."""
        return Ranking(tuple(placed.item for placed in self.placed(request, viewer)), POLICY)

    def placed(self, request: PlanRequest, viewer: ViewerFeatures) -> tuple[Placed, ...]:
        """Return the same, with what is known of each video."""
        videos = [video for video_id in dict.fromkeys(request.pool) if (video := self._videos.get(video_id)) is not None]
        if not videos:
            return ()
        embeddings = np.stack([video.embedding for video in videos])
        liking = _liking(embeddings, viewer.interests)
        obeying = _obeying(embeddings, request.steering)
        scores = liking.sum(axis=0) + obeying.sum(axis=0)
        order = np.argsort(-scores, kind="stable")
        return tuple(
            Placed(
                videos[at],
                PlanItem(
                    video_id=videos[at].video_id,
                    score=float(scores[at]),
                    reason=_wish_reason(request.steering, obeying[:, at])
                    or _interest_reason(videos[at], viewer.interests, liking[:, at]),
                ),
                wished=bool(np.any(obeying[:, at])),
            )
            for at in order
        )


def _liking(embeddings: Vector, interests: UserInterests | None) -> Vector:
    """Return what short and long interests add to each video's score, (2, n)."""
    if interests is None:
        return np.zeros((2, len(embeddings)), np.float32)
    liking: Vector = np.stack([SHORT_SHARE * interests.short, (1 - SHORT_SHARE) * interests.long]) @ embeddings.T
    return liking


def _obeying(embeddings: Vector, steering: Sequence[Steer]) -> Vector:
    """Return what each wish adds to each video's score, (wishes, n)."""
    if not steering:
        return np.zeros((0, len(embeddings)), np.float32)
    directions = np.stack([unpack_vector(wish.embedding) for wish in steering])
    weights = np.array([[wish.weight] for wish in steering], np.float32)
    obeying: Vector = STRENGTH * weights * about(directions, embeddings)
    return obeying


def _wish_reason(steering: Sequence[Steer], effects: Vector) -> str:
    """Return which wish moved a video most, empty where none did."""
    if not len(effects) or not np.any(effects):
        return ""
    wish = steering[int(np.argmax(np.abs(effects)))]
    return f"You asked for {'more' if wish.weight > 0 else 'less'} {wish.text}"


def _interest_reason(video: Video, interests: UserInterests | None, parts: Vector) -> str:
    if interests is not None:
        shared = next((topic for topic in interests.topics if topic in video.topics), None)
        if shared is not None:
            return f"Because you like {shared}"
        short, long = parts / np.array([SHORT_SHARE, 1 - SHORT_SHARE])
        if short >= ALIKE:
            return "Like what you watched just now"
        if long >= ALIKE:
            return "Like what you often enjoy"
    return "Something new for you"
