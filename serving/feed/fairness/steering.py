"""The two knobs of fairness: how many places are kept for new videos, and how much an author's exposure moves values.

The second is FairCo (Morik, Singh, Hong and Joachims, SIGIR 2020): each value gets its author's distance from equal exposure,
times a factor. There the factor is given; here it is turned until the Gini is the one that is wanted.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.catalogue import Catalogue
from serving.columns import Floats, Rows
from serving.feed.fairness.control import Knob, Tuning, turn
from serving.feed.fairness.exposure import Exposure, Served
from serving.feed.kept_places import start_of
from serving.settings import FeedSettings

# Fewer served places say nothing: the knobs would follow chance. More, and a quiet node is never steered.
_LEAST_PLACES = 100.0
# How much share a place is taken to bring, and how much Gini a unit of weight: where it is more, the target is reached sooner,
# where it is less, later. A place brings less than a tenth, as a new video is often where value would have put it.
_SHARE_BY_PLACE = 0.05
_GINI_BY_WEIGHT = 0.25


@dataclass(frozen=True)
class Steered:
    """What was measured last and where the knobs stand; `more_places` than the settings keep, below 0 fewer.

    `lead`, (authors + 1,), ends with that of authors not counted yet. An author's lead is 1 where it was never shown, 0 at the
    mean exposure, and nears -1 far above it.
    """

    served: Served
    places: float
    more_places: float
    author_weight: float
    lead: Floats


class Fairness:
    """Exposure and knobs of one node. `now` is replaced as a whole, so that a request sees knobs of one moment."""

    def __init__(self, catalogue: Catalogue, settings: FeedSettings) -> None:
        fairness, cold = settings.fairness, settings.cold_start
        self._catalogue = catalogue
        self._exposure = Exposure(fairness.half_life_s, fairness.persistence)
        self._new_share = fairness.new_share
        self._author_gini = fairness.author_gini
        time_constant_s = fairness.half_life_s / math.log(2)
        self._start = start = start_of(cold.positions)
        self._for_places = Tuning(
            start=start,
            low=0.0,
            high=max(start, float(fairness.max_places)),
            gain=1.0 / _SHARE_BY_PLACE,
            reset_s=time_constant_s,
        )
        self._for_weight = Tuning(
            start=0.0, low=0.0, high=fairness.max_author_weight, gain=1.0 / _GINI_BY_WEIGHT, reset_s=time_constant_s
        )
        self._places, self._weight = Knob(start), Knob(0.0)
        self._turned_at: int | None = None
        nobody = Served(np.zeros(0), np.zeros(0, dtype=np.bool_), 0.0, 0.0)
        self.now = Steered(nobody, start, 0.0, 0.0, np.zeros(1, dtype=np.float32))

    def count(self, rows: Rows, new: NDArray[np.bool_]) -> None:
        """Count a page of catalogue rows, in the order of their places, and which were new."""
        self._exposure.add(self._catalogue.columns.author[rows], new)

    def renew(self, *, now_ms: int) -> None:
        """Measure, and turn the knobs that have a target; for the thread that sweeps, every few seconds."""
        columns = self._catalogue.columns
        present = np.bincount(columns.author[self._catalogue.alive()]) > 0
        served = self._exposure.at(now_ms, present)
        elapsed_s = max(0, now_ms - (now_ms if self._turned_at is None else self._turned_at)) / 1000
        self._turned_at = now_ms
        if served.places >= _LEAST_PLACES:
            self._turn(served, elapsed_s)
        self.now = Steered(served, self._places.value, self._places.value - self._start, self._weight.value, _lead(served))

    def _turn(self, served: Served, elapsed_s: float) -> None:
        share, unevenness = served.new_share, served.author_gini
        if self._new_share > 0.0 and share is not None:
            self._places = turn(self._places, self._for_places, error=self._new_share - share, elapsed_s=elapsed_s)
        if self._author_gini < 1.0 and unevenness is not None:
            self._weight = turn(self._weight, self._for_weight, error=unevenness - self._author_gini, elapsed_s=elapsed_s)


def _lead(served: Served) -> Floats:
    """Return how far each author's exposure is below the mean of those present: (m - e) / (m + e), which has no unit."""
    authors = int(served.present.sum())
    mean = served.by_author.sum() / authors if authors else 0.0
    if mean <= 0.0:
        return np.zeros(len(served.present) + 1, dtype=np.float32)
    exposure = np.append(served.by_author, 0.0)
    return ((mean - exposure) / (mean + exposure)).astype(np.float32)
