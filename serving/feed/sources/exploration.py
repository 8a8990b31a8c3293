"""New videos with exploration budget left, the nearest to the viewer's taste first; for a new viewer, drawn by lot."""

from dataclasses import dataclass

import numpy as np

from serving.catalogue import Catalogue
from serving.columns import Rows
from serving.feed.query import Query
from serving.feed.scorers.interest import similarity
from serving.shelves import Shelves


@dataclass(frozen=True)
class Exploration:
    catalogue: Catalogue
    shelves: Shelves
    size: int
    name: str = "exploration"

    def find(self, query: Query) -> Rows:
        (shelved, vectors), arrived = self.shelves.new(), self.shelves.arrived()
        rows = np.concatenate([shelved, arrived])
        if len(rows) <= self.size:
            return rows
        if not query.taste:
            return query.rng.choice(rows, self.size, replace=False)
        near = [similarity(query.taste, vectors), similarity(query.taste, self.catalogue.vectors(arrived))]
        return rows[np.concatenate(near).argpartition(-self.size)[-self.size :]]
