"""The newest uploads."""

from dataclasses import dataclass

from serving.columns import Rows
from serving.feed.query import Query
from serving.shelves import Shelves


@dataclass(frozen=True)
class Fresh:
    shelves: Shelves
    size: int
    name: str = "fresh"

    def find(self, query: Query) -> Rows:
        return query.unseen_first(self.shelves.fresh(self.size + len(query.seen) // 2), self.size)
