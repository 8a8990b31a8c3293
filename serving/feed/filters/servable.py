"""Only videos that are there: a takedown or the end of a live room since they were found is honoured here."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.catalogue import Catalogue
from serving.feed.candidates import Candidates
from serving.feed.query import Query


@dataclass(frozen=True)
class Servable:
    catalogue: Catalogue
    name: str = "servable"

    def keep(self, query: Query, candidates: Candidates) -> NDArray[np.bool_]:
        return self.catalogue.columns.alive[candidates.rows]
