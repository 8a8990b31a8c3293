"""How well a video is received, by impression, smoothed towards the average of all."""

from dataclasses import dataclass

import numpy as np

from serving.catalogue import Catalogue
from serving.columns import Floats
from serving.feed.candidates import Candidates
from serving.feed.query import Query
from serving.shelves import Shelves


@dataclass(frozen=True)
class Engagement:
    catalogue: Catalogue
    shelves: Shelves
    smoothing: float
    weight: float
    name: str = "engagement"

    def score(self, query: Query, candidates: Candidates) -> Floats:
        engagement = self.catalogue.columns.engagement(
            candidates.rows, query.now_ms, smoothing=self.smoothing, average=self.shelves.average_rate
        )
        return np.float32(self.weight) * engagement
