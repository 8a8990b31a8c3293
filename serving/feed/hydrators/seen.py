"""What the viewer has seen: the history, and what this node served lately and no event has told of yet."""

from dataclasses import dataclass, replace

from serving.catalogue import Catalogue
from serving.feed.query import Query
from serving.viewers import LastPages


@dataclass(frozen=True)
class SeenHydrator:
    catalogue: Catalogue
    last_pages: LastPages
    name: str = "seen-set"

    async def hydrate(self, query: Query) -> Query:
        seen = self.last_pages.of(query.user_id, now_ms=query.now_ms)
        history = query.viewer.history
        if history is not None:
            seen.update(zip(history.video_ids, history.seen_at, strict=True))
        return replace(query, seen=self.catalogue.rows(sorted(seen, key=seen.__getitem__)))
