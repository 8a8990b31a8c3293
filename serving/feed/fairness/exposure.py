"""What this node served lately, summed by author and of new videos: the attention that each place gets, decayed.

Attention falls with the place as viewers leave: rank-biased precision's model (Moffat and Zobel, TOIS 2008), which
amortised fairness uses for it too (Biega et al., SIGIR 2018).
"""

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.feed.fairness.gini import gini


@dataclass(frozen=True)
class Served:
    """Exposure at one moment: `by_author`, (authors,), numbered as in the catalogue; 0 for those that are not `present`.

    `places` is all of it, in impressions' worth, and `new` what new videos had.
    """

    by_author: NDArray[np.float64]
    present: NDArray[np.bool_]
    places: float
    new: float

    @property
    def new_share(self) -> float | None:
        """Return the share of new videos; None before anything was served."""
        return self.new / self.places if self.places > 0.0 else None

    @property
    def author_gini(self) -> float | None:
        """Return the Gini over present authors, those never shown included; None where none of them was shown."""
        return gini(self.by_author[self.present])


class Exposure:
    """Decayed sums. `add` is for the thread that makes pages, `at` for the one that sweeps."""

    def __init__(self, half_life_s: float, persistence: float) -> None:
        self._half_life_ms = half_life_s * 1000
        self._persistence = persistence
        self._by_author = np.zeros(0, dtype=np.float64)
        self._places = 0.0
        self._new = 0.0
        self._as_of: int | None = None
        self._writing = threading.Lock()

    def add(self, authors: NDArray[np.int32], new: NDArray[np.bool_]) -> None:
        """Count a page: the author of each place, (n,), and whether its video was new."""
        attention = self._persistence ** np.arange(len(authors), dtype=np.float64)
        most = int(authors.max(initial=-1))
        with self._writing:
            if most >= len(self._by_author):
                self._by_author = _longer(self._by_author, 2 * most + 1)
            np.add.at(self._by_author, authors, attention)
            self._places += float(attention.sum())
            self._new += float(attention[new].sum())

    def at(self, now_ms: int, present: NDArray[np.bool_]) -> Served:
        """Decay until `now_ms` and return what is left; who is not `present`, by author number, is forgotten."""
        with self._writing:
            # What came since the last call decays from now on only: some seconds of a half-life of minutes at least.
            elapsed_ms = max(0, now_ms - (now_ms if self._as_of is None else self._as_of))
            factor = 0.5 ** (elapsed_ms / self._half_life_ms)
            self._as_of = now_ms
            size = max(len(present), len(self._by_author))
            kept = np.zeros(size, dtype=np.bool_)
            kept[: len(present)] = present
            self._by_author = np.where(kept, _longer(self._by_author, size) * factor, 0.0)
            self._places *= factor
            self._new *= factor
            return Served(self._by_author[: len(present)].copy(), present, self._places, self._new)


def _longer(amounts: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    return np.concatenate([amounts, np.zeros(size - len(amounts))])
