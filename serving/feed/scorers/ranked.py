"""What a learned ranker expects of a candidate, added up to one value by the weights of the settings."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.ranking.objectives import OBJECTIVES
from models.ranking.ranker import Ranker
from serving.columns import Floats
from serving.feed.candidates import Candidates
from serving.feed.query import Query
from serving.settings import ObjectiveSettings


@dataclass(frozen=True)
class Ranked:
    """`ranker` returns what ranks for a viewer, None where nothing does. It is asked once a page: the next may get another."""

    ranker: Callable[[str], Ranker | None]
    weights: ObjectiveSettings
    name: str = "ranker"

    def parts(self, query: Query, candidates: Candidates) -> dict[str, Floats] | None:
        ranker = self.ranker(query.user_id)
        if ranker is None or candidates.features is None:
            return None
        expected = ranker.predict(candidates.features.all())
        if not np.isfinite(expected).all():
            # Nothing can be sorted by what is no number: the page is made by hand.
            return None
        weighed = expected * np.array([getattr(self.weights, name) for name in OBJECTIVES], np.float32)
        return {f"{self.name}-{name}": weighed[:, place] for place, name in enumerate(OBJECTIVES)}
