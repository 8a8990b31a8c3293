"""One request for a page, and what the hydrators found out about its viewer."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serving.columns import Floats, Rows, among
from serving.spaces import Space
from streams.events import Plan
from streams.features import ViewerFeatures
from streams.state.interests import DIMENSIONS

NO_ROWS: Rows = np.empty(0, dtype=np.int64)
NO_VECTORS: NDArray[np.float32] = np.empty((0, DIMENSIONS), dtype=np.float32)


@dataclass(frozen=True)
class Taste:
    """What a viewer likes, as unit vectors, (n, 384): interests with their weights (sum 1), and the last videos liked."""

    interests: NDArray[np.float32] = field(default_factory=lambda: NO_VECTORS)
    weights: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    liked: Rows = field(default_factory=lambda: NO_ROWS)
    liked_weights: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    liked_vectors: NDArray[np.float32] = field(default_factory=lambda: NO_VECTORS)

    def __bool__(self) -> bool:
        return len(self.interests) > 0 or len(self.liked) > 0


@dataclass(frozen=True)
class Wishes:
    """What a viewer asked for in words: texts, unit vectors (n, 384), and weights, above 0 for more and below for less."""

    texts: tuple[str, ...] = ()
    vectors: NDArray[np.float32] = field(default_factory=lambda: NO_VECTORS)
    weights: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))


@dataclass(frozen=True)
class Wanted:
    """What the viewer tower says that a viewer wants next, (width,), in a space: one release's, whatever serves meanwhile."""

    space: Space
    vector: Floats


@dataclass(frozen=True)
class Query:
    """A request for `limit` videos at `now_ms`; all chance in it comes from `rng`."""

    request_id: str
    user_id: str
    limit: int
    now_ms: int
    rng: np.random.Generator
    trace: str | None = None
    viewer: ViewerFeatures = field(default_factory=lambda: ViewerFeatures(user_id=""))
    plan: Plan | None = None
    wishes: Wishes = field(default_factory=Wishes)
    taste: Taste = field(default_factory=Taste)
    wanted: Wanted | None = None
    # The rows of videos that the viewer saw or was just served, the longest ago first.
    seen: Rows = field(default_factory=lambda: NO_ROWS)

    def unseen_first(self, rows: Rows, size: int) -> Rows:
        """Return the first `size` of `rows` that the viewer has not seen; all `rows` where those are fewer than a page."""
        unseen = rows[~among(rows, self.seen)]
        return unseen[:size] if len(unseen) >= self.limit else rows
