"""Viewers' histories end to end in rows of one length: half of them have four watches, and padding would be most of a batch."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.retrieval.gaps import gaps
from models.retrieval.log import WatchLog
from models.retrieval.recipe import HISTORY

# Places of a row: longer ones cut fewer viewers in two, shorter ones compare fewer places of different viewers in vain.
ROW = 128


@dataclass(frozen=True)
class Packed:
    """n rows of 128 places: which video was watched, at which `places` of its viewer's history, of which `segments`.

    `interest` was shown in it, and `gaps` say how long after the one before it was. `wanted` (n, 128, 2) are the next video and
    the one after, -1 where there is none.
    """

    watched: Tensor
    interest: Tensor
    gaps: Tensor
    places: Tensor
    segments: Tensor
    wanted: Tensor

    def batches(self, rows: int, device: torch.device) -> "list[Packed]":
        """Return them in parts of so many rows, on a device."""
        parts = (self.watched, self.interest, self.gaps, self.places, self.segments, self.wanted)
        split = [torch.split(part.to(device), rows) for part in parts]
        return [Packed(*parts) for parts in zip(*split, strict=True) if len(parts[0])]


def packed(log: WatchLog, rng: np.random.Generator, *, learned: NDArray[np.bool_] | None = None) -> Packed:
    """Return a log's viewers, shuffled. Who watched only one video has nothing to be learned from.

    Only the watches that are `learned`, (n,), are wanted, None for all; the others are seen before them.
    """
    order = rng.permutation(np.flatnonzero(log.lengths >= 2))
    shuffled = log.chosen(order)
    targets = shuffled.videos
    if learned is not None:
        targets = replace(log, videos=np.where(learned, log.videos, -1)).chosen(order).videos
    lengths, places = shuffled.lengths, np.arange(len(shuffled)) - np.repeat(shuffled.bounds[:-1], shuffled.lengths)
    left = np.repeat(lengths, lengths) - places
    # A viewer's last watch has nothing after it.
    has_next = left > 1
    wanted = np.stack([_ahead(targets, 1), np.where(left > 2, _ahead(targets, 2), -1)], axis=-1)[has_next]
    # A long history starts anew after so many places, which serving could not see together.
    segments = (np.repeat(np.arange(len(order)), lengths) * (len(log) // HISTORY + 1) + places // HISTORY)[has_next]
    fill = -int(has_next.sum()) % ROW

    def rows(values: NDArray[Any], padding: int) -> Tensor:
        whole = np.concatenate([values, np.full((fill, *values.shape[1:]), padding, values.dtype)])
        return torch.from_numpy(whole.reshape(-1, ROW, *values.shape[1:]))

    return Packed(
        watched=rows(shuffled.videos[has_next], 0),
        interest=rows(shuffled.interest[has_next], 0),
        gaps=rows(gaps(shuffled.at, places % HISTORY)[has_next], 0),
        places=rows(places[has_next] % HISTORY, 0),
        segments=rows(segments, -1),
        wanted=rows(wanted, -1),
    )


def _ahead(values: NDArray[np.int64], by: int) -> NDArray[np.int64]:
    return np.concatenate([values[by:], np.full(min(by, len(values)), -1, np.int64)])
