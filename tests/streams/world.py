"""What the stream tests share: events that are right unless said otherwise, and a table of videos in memory."""

import numpy as np
import pytest

from streams.events import Action, Interaction, Upload
from streams.features import FeatureRow, Vector, ViewerFeatures
from streams.flows.kafka_io import Received
from streams.ports import Video

NOW = 1_790_000_000_000


def unit(seed: int) -> Vector:
    """Return a unit vector, (384,), the same for the same seed."""
    vector = np.random.default_rng(seed).normal(size=384).astype(np.float32)
    return vector / np.linalg.norm(vector)


def interaction(number: int = 0, action: Action = "complete", *, user: str = "ann", video: str = "v0", at: int = NOW, **more):
    """Return an interaction whose event id is its number."""
    return Interaction(event_id=f"e{number}", user_id=user, video_id=video, action=action, occurred_at=at, **more)


def upload(number: int = 0, **more) -> Upload:
    """Return an upload of video `v<number>`."""
    fields = {"event_id": f"u{number}", "video_id": f"v{number}", "author_id": "bob", "title": f"Clip {number}"}
    return Upload(**(fields | {"uploaded_at": NOW} | more))


def received(event: object, *, at: int = NOW, trace: str | None = None) -> Received:
    """Return `event` as if it came from partition 0."""
    return Received(event, 0, 0, at, trace)


class VideosInMemory:
    """The port `Videos` over a dict."""

    def __init__(self, count: int = 10) -> None:
        self.known = {f"v{i}": self.video(i) for i in range(count)}
        self.gone: set[str] = set()

    @staticmethod
    def video(number: int) -> Video:
        return Video(
            video_id=f"v{number}",
            author_id=f"author{number}",
            title=f"Clip {number}",
            embedding=unit(number),
            topics=("cooking",) if number % 2 else ("music",),
            duration_ms=10_000,
            kind="video",
        )

    def get(self, video_id: str) -> Video | None:
        return self.known.get(video_id)

    def is_gone(self, video_id: str) -> bool:
        return video_id in self.gone


class FeaturesInMemory:
    """The ports `Features` and `ViewerSource` over lists."""

    def __init__(self) -> None:
        self.rows: list[FeatureRow] = []

    def write(self, rows: list[FeatureRow]) -> None:
        self.rows += rows

    def erase_user(self, user_id: str) -> dict[str, int]:
        return {"rows": self._erase("user_id", user_id)}

    def erase_video(self, video_id: str, kind: type[FeatureRow]) -> dict[str, int]:
        return {f"redis: {kind.__name__}": self._erase("video_id", video_id, kind)}

    def _erase(self, key: str, value: str, kind: type[FeatureRow] | None = None) -> int:
        before = len(self.rows)
        self.rows = [
            row for row in self.rows if getattr(row, key, None) != value or (kind is not None and type(row) is not kind)
        ]
        return before - len(self.rows)

    def viewer(self, user_id: str) -> ViewerFeatures:
        return ViewerFeatures(user_id=user_id)


@pytest.fixture
def videos() -> VideosInMemory:
    return VideosInMemory()


@pytest.fixture
def features() -> FeaturesInMemory:
    return FeaturesInMemory()
