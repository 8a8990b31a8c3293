"""The candidates of one request as arrays, so that a stage handles a thousand of them in one numpy call."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from serving.columns import Floats, Rows
from serving.feed.query import NO_ROWS


@dataclass(frozen=True)
class Candidates:
    """Catalogue rows, each once; `found_by` has bit i set where source i brought the row.

    `vectors`, (n, 384), the ranker's `features` and `parts`, what each scorer added, are there from the scorers on.
    """

    rows: Rows
    found_by: NDArray[np.int64]
    vectors: NDArray[np.float32] | None = None
    features: "Described | None" = None
    parts: dict[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @staticmethod
    def merge(found: list[Rows]) -> "Candidates":
        """Return what the sources found, in the order of their bits."""
        bits = np.repeat(np.int64(1) << np.arange(len(found), dtype=np.int64), [len(rows) for rows in found])
        rows, place = np.unique(np.concatenate([NO_ROWS, *found]), return_inverse=True)
        found_by = np.zeros(len(rows), dtype=np.int64)
        np.bitwise_or.at(found_by, place, bits)
        return Candidates(rows, found_by)

    def keep(self, mask: NDArray[np.bool_]) -> "Candidates":
        """Return those where `mask` is true."""
        return replace(self, rows=self.rows[mask], found_by=self.found_by[mask])

    def chosen(self, index: Rows) -> "Candidates":
        """Return those at `index`, with their vectors alone."""
        return Candidates(self.rows[index], self.found_by[index], self.embedded()[index])

    @property
    def value(self) -> Floats:
        """Return what each candidate is worth: the sum of its parts."""
        return np.sum(list(self.parts.values()), axis=0, dtype=np.float32) if self.parts else np.zeros(len(self), np.float32)

    def embedded(self) -> NDArray[np.float32]:
        """Return `vectors`; scorers and the selector run after they were looked up."""
        assert self.vectors is not None, "vectors are looked up between the filters and the scorers"
        return self.vectors


class Described:
    """The ranker's features of candidates, (n, f): made of all for a ranker, and of a page's few where none serves.

    That is the same, for each row is of its candidate alone.
    """

    def __init__(self, candidates: Candidates, make: Callable[[Candidates], NDArray[np.float32]]) -> None:
        self._candidates = candidates
        self._make = make
        self._all: NDArray[np.float32] | None = None

    def all(self) -> NDArray[np.float32]:
        """Return them, (n, f)."""
        if self._all is None:
            self._all = self._make(self._candidates)
        return self._all

    def of(self, index: Rows) -> NDArray[np.float32]:
        """Return those of the candidates at `index`, (k, f)."""
        return self._make(self._candidates.chosen(index)) if self._all is None else self._all[index]
