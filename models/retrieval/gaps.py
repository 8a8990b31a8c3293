"""How long after the one before it a viewer watched a video: what is watched on and on is another thing than a return."""

import numpy as np

from models.retrieval.log import Rows
from streams.features import Vector

# Within minutes the time tells what a page costs to look through; and a house's log knows it by the page only.
SOON_MS = 10 * 60_000
# Who was away for a month or for a year is as good as new.
LONGEST_MS = 30 * 86_400_000
# What is before a history, nobody knows: no number of 0..1, and near none.
NONE = -1.0


def gaps(at: Rows, places: Rows) -> Vector:
    """Return the logarithm of the time before each watch, (n,): 0 for none and 1 for 30 days or more.

    `places` say which of its history each watch is, from 0: the first that a tower sees has `NONE`. Where clocks go backwards
    there is no time.
    """
    passed = np.clip(np.diff(at, prepend=at[:1]), 0, LONGEST_MS)
    scaled = np.log1p(passed / SOON_MS) / np.log1p(LONGEST_MS / SOON_MS)
    return np.where(places == 0, NONE, scaled).astype(np.float32)
