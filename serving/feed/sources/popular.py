"""What is popular now. It reaches past all that the viewer has seen, so that a page is full while there are videos."""

from dataclasses import dataclass

from serving.columns import Rows
from serving.feed.query import Query
from serving.shelves import Shelves


@dataclass(frozen=True)
class Popular:
    shelves: Shelves
    size: int
    name: str = "popular"

    def find(self, query: Query) -> Rows:
        return query.unseen_first(self.shelves.popular[: self.size + len(query.seen)], self.size)
