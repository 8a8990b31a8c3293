"""What the viewer wants next, by the towers: from the last videos liked in earnest, in their order."""

from dataclasses import dataclass, replace

from serving.catalogue import Catalogue
from serving.feed.hydrators.taste import LIKED
from serving.feed.query import Query, Wanted
from serving.spaces import Spaces


@dataclass(frozen=True)
class WantedHydrator:
    catalogue: Catalogue
    spaces: Spaces
    name: str = "wanted"

    async def hydrate(self, query: Query) -> Query:
        space, history = self.spaces.current, query.viewer.history
        if space is None or history is None:
            return query
        liked = [key for key, weight in zip(history.video_ids, history.weights, strict=True) if weight >= LIKED]
        rows = self.catalogue.rows(liked[-2 * space.towers.history :])[-space.towers.history :]
        return replace(query, wanted=Wanted(space, space.wanted(rows))) if len(rows) else query
