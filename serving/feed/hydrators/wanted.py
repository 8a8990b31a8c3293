"""What the viewer wants next, by the towers: from the last videos liked in earnest, in their order."""

from dataclasses import dataclass, replace

import numpy as np

from models.retrieval.log import History
from serving.catalogue import Catalogue
from serving.feed.hydrators.taste import LIKED
from serving.feed.query import Query, Wanted
from serving.spaces import Space
from serving.versions import Versions


@dataclass(frozen=True)
class WantedHydrator:
    catalogue: Catalogue
    towers: Versions[Space]
    name: str = "wanted"

    async def hydrate(self, query: Query) -> Query:
        space, seen = self.towers.of(query.user_id), query.viewer.history
        if space is None or seen is None:
            return query
        liked = [
            (row, weight, at)
            for key, weight, at in zip(seen.video_ids, seen.weights, seen.seen_at, strict=True)
            if weight >= LIKED and (row := self.catalogue.row(key)) is not None
        ]
        if not liked:
            return query
        rows, weights, at = zip(*liked, strict=True)
        history = History(np.array(rows, np.int64), np.array(weights, np.float32), np.array(at, np.int64))
        return replace(query, wanted=Wanted(space, space.wanted(history)))
