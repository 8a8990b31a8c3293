"""Videos near what the viewer asked for in words."""

from dataclasses import dataclass

from serving.columns import Rows
from serving.feed.query import Query
from serving.index import VectorIndex


@dataclass(frozen=True)
class AskedFor:
    index: VectorIndex
    size: int
    name: str = "asked-for"

    def find(self, query: Query) -> Rows:
        return self.index.nearest(query.wishes.vectors[query.wishes.weights > 0], self.size)
