"""The videos of the viewer's plan."""

from dataclasses import dataclass

from serving.catalogue import Catalogue
from serving.columns import Rows
from serving.feed.query import NO_ROWS, Query


@dataclass(frozen=True)
class Planned:
    catalogue: Catalogue
    name: str = "plan"

    def find(self, query: Query) -> Rows:
        return NO_ROWS if query.plan is None else self.catalogue.rows(item.video_id for item in query.plan.ranking)
