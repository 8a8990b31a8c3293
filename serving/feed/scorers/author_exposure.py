"""An author who was shown less than others lately is worth more, one who was shown more less: as much as the target asks."""

from dataclasses import dataclass

import numpy as np

from serving.catalogue import Catalogue
from serving.columns import Floats
from serving.feed.candidates import Candidates
from serving.feed.fairness.steering import Fairness
from serving.feed.query import Query


@dataclass(frozen=True)
class AuthorExposure:
    catalogue: Catalogue
    fairness: Fairness
    name: str = "author-exposure"

    def score(self, query: Query, candidates: Candidates) -> Floats:
        steered = self.fairness.now
        if steered.author_weight == 0.0:
            return np.zeros(len(candidates), dtype=np.float32)
        authors = np.minimum(self.catalogue.columns.author[candidates.rows], len(steered.lead) - 1)
        return np.float32(steered.author_weight) * steered.lead[authors]
