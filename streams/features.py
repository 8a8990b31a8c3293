"""The features: one struct a feature view, shared by the flows that compute them and the store that keeps them.

Each row says whose it is (the first field, the entity's key) and `as_of` when it was true (Unix ms).
"""

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class UserActivity(Struct, frozen=True, kw_only=True):
    """What a viewer did, ever and in this session."""

    user_id: str
    as_of: int
    events: int
    impressions: int
    plays: int
    completes: int
    likes: int
    skips: int
    skip_streak: int
    session_id: str
    session_events: int
    session_watch_ms: int


class UserInterests(Struct, frozen=True, kw_only=True):
    """What a viewer likes: unit vectors in the text space, (384,), and the topics that weigh most, strongest first."""

    user_id: str
    as_of: int
    short: Vector
    long: Vector
    short_weight: float
    long_weight: float
    topics: list[str]


class UserHistory(Struct, frozen=True, kw_only=True):
    """A viewer's last 200 videos, oldest first: engagement in -1..1, and when; authors followed and blocked."""

    user_id: str
    as_of: int
    video_ids: list[str]
    weights: list[float]
    seen_at: list[int]
    followed: list[str]
    blocked: list[str]


class VideoEngagement(Struct, frozen=True, kw_only=True):
    """A video's decayed engagement; `total_impressions` is undecayed."""

    video_id: str
    as_of: int
    impressions: float
    plays: float
    completions: float
    watch_share: float
    likes: float
    shares: float
    comments: float
    skips: float
    reports: float
    total_impressions: int


class VideoContent(Struct, frozen=True, kw_only=True):
    """What a video is about, as the newest perception says; `embedding` is a unit vector, (384,)."""

    video_id: str
    as_of: int
    author_id: str
    stage: str
    summary: str
    topics: list[str]
    embedding: Vector
    unsafe: float
    duration_ms: int


class ViewerFeatures(Struct, frozen=True, kw_only=True):
    """All that is stored of one viewer. A viewer not seen before has None in each."""

    user_id: str
    activity: UserActivity | None = None
    interests: UserInterests | None = None
    history: UserHistory | None = None

    @property
    def as_of(self) -> int:
        """Return when the newest of these features was true, Unix ms; 0 for a new viewer."""
        rows: tuple[Any, ...] = (self.activity, self.interests, self.history)
        return max((row.as_of for row in rows if row is not None), default=0)


FeatureRow = UserActivity | UserInterests | UserHistory | VideoEngagement | VideoContent
