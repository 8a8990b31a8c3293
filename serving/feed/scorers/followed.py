"""By an author whom the viewer follows."""

from dataclasses import dataclass

import numpy as np

from serving.catalogue import Catalogue
from serving.columns import Floats, among
from serving.feed.candidates import Candidates
from serving.feed.query import Query


@dataclass(frozen=True)
class FollowedAuthor:
    catalogue: Catalogue
    weight: float
    name: str = "followed-author"

    def score(self, query: Query, candidates: Candidates) -> Floats:
        history = query.viewer.history
        if history is None or not history.followed:
            return np.zeros(len(candidates), dtype=np.float32)
        followed = among(self.catalogue.columns.author[candidates.rows], self.catalogue.authors(history.followed))
        return np.float32(self.weight) * followed.astype(np.float32)
