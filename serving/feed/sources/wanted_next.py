"""Videos that the towers say the viewer wants next: what others watched after the same videos, new ones by what is in them."""

from dataclasses import dataclass

from serving.columns import Rows
from serving.feed.query import NO_ROWS, Query


@dataclass(frozen=True)
class WantedNext:
    size: int
    name: str = "wanted-next"

    def find(self, query: Query) -> Rows:
        if query.wanted is None:
            return NO_ROWS
        # What was watched lies near what is wanted, as for interests.
        return query.wanted.space.index.nearest(query.wanted.vector[None], self.size + len(query.seen) // 4)
