"""The place of a video in the viewer's plan: the whole weight for the first, half of it every few places on."""

from dataclasses import dataclass

import numpy as np

from serving.catalogue import Catalogue
from serving.columns import Floats
from serving.feed.candidates import Candidates
from serving.feed.query import Query

# A plan says what comes next, and that is a page: slower, and the hundredth of its pool still outranks what the viewer likes.
HALVED_EVERY = 5.0


def ranks(catalogue: Catalogue, query: Query, candidates: Candidates) -> Floats:
    """Return the worth of each candidate's place in the plan, (n,): 1 for the first, 0 where it is not in it."""
    worth = np.zeros(len(candidates), dtype=np.float32)
    if query.plan is not None:
        planned = catalogue.rows(item.video_id for item in query.plan.ranking)
        by_place = np.exp2(-np.arange(len(planned)) / HALVED_EVERY).astype(np.float32)
        _, among_candidates, in_plan = np.intersect1d(candidates.rows, planned, return_indices=True)
        worth[among_candidates] = by_place[in_plan]
    return worth


@dataclass(frozen=True)
class PlanRank:
    catalogue: Catalogue
    weight: float
    name: str = "plan-rank"

    def score(self, query: Query, candidates: Candidates) -> Floats:
        return np.float32(self.weight) * ranks(self.catalogue, query, candidates)
