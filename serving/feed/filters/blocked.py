"""Nothing by an author whom the viewer blocked."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.catalogue import Catalogue
from serving.columns import among
from serving.feed.candidates import Candidates
from serving.feed.query import Query


@dataclass(frozen=True)
class Blocked:
    catalogue: Catalogue
    name: str = "blocked"

    def keep(self, query: Query, candidates: Candidates) -> NDArray[np.bool_]:
        history = query.viewer.history
        if history is None or not history.blocked:
            return np.ones(len(candidates), dtype=np.bool_)
        authors = self.catalogue.columns.author[candidates.rows]
        return ~among(authors, self.catalogue.authors(history.blocked))
