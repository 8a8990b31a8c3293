"""The viewer's features, from the feature store or from memory."""

from dataclasses import dataclass, replace

from serving.feed.query import Query
from serving.viewers import Viewers


@dataclass(frozen=True)
class ViewerHydrator:
    viewers: Viewers
    name: str = "viewer"

    async def hydrate(self, query: Query) -> Query:
        return replace(query, viewer=await self.viewers.features(query.user_id))
