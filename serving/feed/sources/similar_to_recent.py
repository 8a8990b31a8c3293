"""Videos near the last ones that the viewer liked: several interests stay apart here that one vector would average away."""

from dataclasses import dataclass

from serving.columns import Rows
from serving.feed.query import NO_ROWS, Query
from serving.index import VectorIndex


@dataclass(frozen=True)
class SimilarToRecent:
    index: VectorIndex
    size: int
    name: str = "similar-to-recent"

    def find(self, query: Query) -> Rows:
        liked = query.taste.liked_vectors
        return self.index.nearest(liked, self.size // len(liked) + 20) if len(liked) else NO_ROWS
