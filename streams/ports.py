"""What the flows need from the rooms above them, given to them as arguments."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from streams.events import Perception, PlanItem, Steer, Upload
from streams.features import FeatureRow, Vector, ViewerFeatures


class Count(Protocol):
    """Adds to a counter by its name, for operators to see."""

    def __call__(self, name: str, by: int = 1) -> None: ...


def uncounted(name: str, by: int = 1) -> None:
    """Count nothing: a `Count` where nobody looks."""


class PerceptionUnavailable(Exception):
    """The encoders can't be reached now; the same request may succeed later."""


class PerceptionLate(PerceptionUnavailable):
    """The answer did not come within the time that its caller has for it; it may do without."""


class MediaUnavailable(PerceptionUnavailable):
    """The media's host does not answer now."""


class BadMedia(ValueError):
    """This media can't be perceived, now or later. The message says what was expected and what came."""


class Perceiver(Protocol):
    """Understands videos."""

    model_version: str

    def titles(self, uploads: Sequence[Upload]) -> list[Perception]:
        """Return one perception of stage "title" for each upload, in order; PerceptionUnavailable is transient."""
        ...

    def frames(self, upload: Upload) -> Perception:
        """Return a perception of stage "frames". Blocks for seconds; raises BadMedia or PerceptionUnavailable."""
        ...


class Video(Struct, frozen=True, kw_only=True):
    """What the flows know of one video. `embedding` is a unit vector, (384,), `summary` what a viewer would care about."""

    video_id: str
    author_id: str
    title: str
    summary: str = ""
    embedding: Vector
    topics: tuple[str, ...]
    duration_ms: int | None
    kind: str


class Videos(Protocol):
    """The videos that were perceived and are not gone."""

    def get(self, video_id: str) -> Video | None: ...

    def is_gone(self, video_id: str) -> bool:
        """Return whether the video was taken out, as against not perceived yet."""
        ...


class PlanRequest(Struct, frozen=True, kw_only=True):
    """Rank `pool` for one viewer, obeying `steering`. `trigger` says why now."""

    user_id: str
    trigger: str
    pool: tuple[str, ...]
    asked_at: int
    steering: tuple[Steer, ...] = ()
    steering_until: int = 0


class Ranking(Struct, frozen=True):
    """Videos for one viewer, best first, and which policy made this of them."""

    items: tuple[PlanItem, ...]
    policy_version: str


class Ranker(Protocol):
    """Ranks for a viewer off the request path."""

    def steer(self, texts: Sequence[str]) -> list[tuple[Steer, ...]]:
        """Return each instruction's wishes with their embeddings; PerceptionUnavailable is transient."""
        ...

    def rank(self, request: PlanRequest, viewer: ViewerFeatures) -> Ranking:
        """Return the pool, best first; videos that are gone are left out."""
        ...


class Features(Protocol):
    """The feature store, as a writer: idempotent, last write wins."""

    def write(self, rows: Sequence[FeatureRow]) -> None: ...

    def erase_user(self, user_id: str) -> dict[str, int]:
        """Forget a viewer; return how much went, by store."""
        ...

    def erase_video(self, video_id: str, kind: type[FeatureRow]) -> dict[str, int]:
        """Forget the rows of one kind of a video; return how many went, by store."""
        ...


class ViewerSource(Protocol):
    """The feature store, as a reader of viewers."""

    def viewer(self, user_id: str) -> ViewerFeatures: ...
