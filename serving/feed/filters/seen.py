"""Nothing twice, while there is enough else. The last filter: it knows how many are left.

Where too few are left for a page, the videos seen longest ago fill it: an empty feed serves nobody.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.columns import among
from serving.feed.candidates import Candidates
from serving.feed.query import Query


@dataclass(frozen=True)
class Seen:
    name: str = "seen"

    def keep(self, query: Query, candidates: Candidates) -> NDArray[np.bool_]:
        keep = ~among(candidates.rows, query.seen)
        missing = query.limit - int(keep.sum())
        if missing > 0:
            again = query.seen[among(query.seen, candidates.rows)][:missing]
            keep |= among(candidates.rows, again)
        return keep
