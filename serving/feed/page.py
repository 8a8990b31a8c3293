"""A page as the pipeline made it, with what the slate event and `explain` tell of it."""

from dataclasses import dataclass

import numpy as np
from msgspec import Struct

from serving.catalogue import Card
from serving.columns import Rows
from serving.feed.query import Query


class StageTrace(Struct, frozen=True):
    """What one stage did: how many came in, how many went out, and the milliseconds it took."""

    kind: str
    name: str
    n_in: int
    n_out: int
    ms: float


@dataclass(frozen=True)
class PlacedItem:
    """One place of a page; `parts` add up to `score`, `features` are what the ranker saw, packed.

    `rivals` are the ids of the videos that chance could have put here instead, with their propensities.
    """

    row: int
    card: Card
    position: int
    score: float
    propensity: float
    rivals: dict[str, float]
    source: str
    found_by: tuple[str, ...]
    reason: str
    new: bool
    parts: dict[str, float]
    features: bytes = b""


@dataclass(frozen=True)
class Page:
    """The items in order, and the ids of the best candidates, the page's own among them."""

    query: Query
    items: tuple[PlacedItem, ...]
    pool: tuple[str, ...]
    trace: tuple[StageTrace, ...] = ()

    @property
    def rows(self) -> Rows:
        """Return the catalogue rows of the items."""
        return np.array([item.row for item in self.items], dtype=np.int64)
