"""What the ranker predicts of a place of a page, and how the feedback log tells whether it came true."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ranking.features import AT, Matrix

OBJECTIVES = ("complete", "watch_share", "like", "share", "follow", "skip", "report")


@dataclass(frozen=True)
class Labels:
    """What became of n places: `values`, (n, objectives) in 0..1, and which of them are known."""

    values: Matrix
    known: NDArray[np.bool_]


def labels(
    actions: Sequence[Sequence[str]], watch_ms: Sequence[int], parts: Sequence[Mapping[str, float]], features: Matrix
) -> Labels:
    """Return the labels of places by what their viewers did, `features` (n, f) as they were served.

    Not known are the end of a live room, which has none; the share watched of a video whose length or time is not known; and
    whether a viewer would follow an author who is followed already.
    """
    values = np.zeros((len(actions), len(OBJECTIVES)), np.float32)
    known = np.ones(values.shape, np.bool_)
    for row, (done, watched, of) in enumerate(zip(actions, watch_ms, parts, strict=True)):
        share = _watch_share(done, watched, of)
        known[row, 1] = share is not None
        values[row] = (
            "complete" in done,
            share or 0.0,
            "like" in done and "unlike" not in done,
            "share" in done,
            "follow" in done,
            "skip" in done or "not_interested" in done,
            "report" in done,
        )
    live = features[:, AT["video_live"]] > 0.5
    known[live, 0] = known[live, 1] = False
    known[features[:, AT["author_followed"]] > 0.5, 4] = False
    return Labels(values, known)


def _watch_share(actions: Sequence[str], watch_ms: int, parts: Mapping[str, float]) -> float | None:
    if "complete" in actions:
        return 1.0
    if "watch" in parts:
        return min(1.0, max(0.0, parts["watch"]))
    looked = watch_ms > 0 or "play" in actions or "progress" in actions
    return None if looked else 0.0
