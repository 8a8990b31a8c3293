"""The newest videos of the authors whom the viewer follows."""

from dataclasses import dataclass

import numpy as np

from serving.catalogue import Catalogue
from serving.columns import Rows
from serving.feed.query import NO_ROWS, Query


@dataclass(frozen=True)
class Followed:
    catalogue: Catalogue
    size: int
    name: str = "followed"

    def find(self, query: Query) -> Rows:
        history = query.viewer.history
        if history is None or not history.followed:
            return NO_ROWS
        authors = self.catalogue.authors(history.followed).tolist()
        rows = np.array([row for author in authors for row in self.catalogue.videos_of(author)], dtype=np.int64)
        return rows[np.argsort(-self.catalogue.columns.uploaded_at[rows])[: self.size]]
