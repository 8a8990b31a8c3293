"""Nothing that perception finds unsafe."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.catalogue import Catalogue
from serving.feed.candidates import Candidates
from serving.feed.query import Query


@dataclass(frozen=True)
class Unsafe:
    catalogue: Catalogue
    above: float
    name: str = "unsafe"

    def keep(self, query: Query, candidates: Candidates) -> NDArray[np.bool_]:
        return self.catalogue.columns.unsafe[candidates.rows] <= self.above
