"""What the viewer likes now: short and long interests, and the last videos liked."""

from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from serving.catalogue import Catalogue
from serving.feed.query import NO_VECTORS, Query, Taste
from streams.features import UserInterests
from streams.state.engagement import INTEREST
from streams.state.interests import SHORT_HALF_LIFE_MS

# From this interest on a video counts as liked in earnest: a completed view.
LIKED = INTEREST["complete"]
# As many decayed likes as it takes for the mood of the moment to count as much as the taste of weeks.
_SHORT_MASS = 1.0


@dataclass(frozen=True)
class TasteHydrator:
    catalogue: Catalogue
    recent_likes: int
    name: str = "taste"

    async def hydrate(self, query: Query) -> Query:
        history = query.viewer.history
        liked: dict[str, float] = {}
        if history is not None:
            newest_first = zip(reversed(history.video_ids), reversed(history.weights), strict=True)
            kept = ((key, weight) for key, weight in newest_first if weight >= LIKED and key in self.catalogue)
            liked = dict(islice(kept, self.recent_likes))
        rows = self.catalogue.rows(liked)
        vectors, weights = _interests(query.viewer.interests, query.now_ms)
        taste = Taste(vectors, weights, rows, np.array(list(liked.values()), np.float32), self.catalogue.vectors(rows))
        return replace(query, taste=taste)


def _interests(interests: UserInterests | None, now_ms: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if interests is None:
        return NO_VECTORS, np.empty(0, dtype=np.float32)
    mass = interests.short_weight * 0.5 ** (max(0, now_ms - interests.as_of) / SHORT_HALF_LIFE_MS)
    share = mass / (mass + _SHORT_MASS)
    weighed = [(interests.short, share), (interests.long, 1.0 - share)]
    known = [(vector, weight) for vector, weight in weighed if np.any(vector) and weight > 0.0]
    if not known:
        return NO_VECTORS, np.empty(0, dtype=np.float32)
    weights = np.array([weight for _, weight in known], dtype=np.float32)
    return np.stack([vector for vector, _ in known]), weights / weights.sum()
