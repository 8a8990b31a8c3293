"""Videos near the viewer's short and long interests."""

from dataclasses import dataclass

from serving.columns import Rows
from serving.feed.query import Query
from serving.index import VectorIndex


@dataclass(frozen=True)
class SimilarToInterests:
    index: VectorIndex
    size: int
    name: str = "similar-to-interests"

    def find(self, query: Query) -> Rows:
        # What was seen lies near the interests, as it made them: look further, or only seen videos are found.
        return self.index.nearest(query.taste.interests, self.size + len(query.seen) // 4)
