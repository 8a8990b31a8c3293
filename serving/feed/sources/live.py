"""Live rooms that are open now, the newest first."""

from dataclasses import dataclass

import numpy as np

from serving.catalogue import Catalogue
from serving.columns import Rows
from serving.feed.query import Query


@dataclass(frozen=True)
class LiveNow:
    catalogue: Catalogue
    size: int
    name: str = "live"

    def find(self, query: Query) -> Rows:
        rows = np.array(list(self.catalogue.live), dtype=np.int64)
        return rows[np.argsort(-self.catalogue.columns.uploaded_at[rows])[: self.size]]
