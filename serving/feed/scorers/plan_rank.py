"""The place of a video in the viewer's plan: the whole weight for the first, half of it every few places on."""

from dataclasses import dataclass

import numpy as np

from serving.catalogue import Catalogue
from serving.columns import Floats
from serving.feed.candidates import Candidates
from serving.feed.query import Query

# A plan says what comes next, and that is a page: slower, and the hundredth of its pool still outranks what the viewer likes.
HALVED_EVERY = 5.0


@dataclass(frozen=True)
class PlanRank:
    catalogue: Catalogue
    weight: float
    name: str = "plan-rank"

    def score(self, query: Query, candidates: Candidates) -> Floats:
        part = np.zeros(len(candidates), dtype=np.float32)
        if query.plan is not None:
            planned = self.catalogue.rows(item.video_id for item in query.plan.ranking)
            worth = np.float32(self.weight) * np.exp2(-np.arange(len(planned)) / HALVED_EVERY).astype(np.float32)
            _, among_candidates, in_plan = np.intersect1d(candidates.rows, planned, return_indices=True)
            part[among_candidates] = worth[in_plan]
        return part
