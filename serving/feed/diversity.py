"""The order of a page: the most valuable first, less what repeats what is on the page already.

Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998), with author spacing and decay as in For You.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from serving.columns import Floats
from serving.settings import FeedSettings

Draw = Callable[[int, NDArray[np.bool_]], int]


def arrange(
    value: Floats,
    vectors: NDArray[np.float32],
    authors: NDArray[np.int32],
    *,
    limit: int,
    reserved: Mapping[int, int],
    settings: FeedSettings,
    by_value: NDArray[np.bool_] | None = None,
    drawn: Mapping[int, Draw] | None = None,
) -> list[int]:
    """Return the indexes of at most `limit` videos in the order of their places, each once.

    Args:
        value: what each video is worth, (n,); its embedding is in `vectors`, (n, 384), of unit length.
        reserved: place -> index, for the places that are given away already.
        by_value: who may get a place by value, (n,); all where None.
        drawn: place -> what is told whom value would put there and who may not be there, (n,), and says who is.
    """
    order: list[int] = []
    free = np.ones(len(value), dtype=np.bool_) if by_value is None else by_value.copy()
    free[list(reserved.values())] = False
    out = np.zeros(len(value), dtype=np.bool_)
    out[list(reserved.values())] = True
    nearest = np.zeros(len(value), dtype=np.float32)
    by_author = np.zeros(len(value), dtype=np.int32)
    # The share of its size that a value loses by the number of its author's videos on the page.
    loss = 1.0 - np.maximum(settings.author_floor, settings.author_decay ** np.arange(limit + 1)).astype(np.float32)
    size = np.abs(value)
    for place in range(limit):
        index = reserved.get(place)
        if index is None:
            if not free.any():
                # The reserved videos that are left move up: a page has no holes.
                order += [reserved[later] for later in sorted(reserved) if later > place]
                break
            marginal = settings.mmr_lambda * (value - loss[by_author] * size) - (1.0 - settings.mmr_lambda) * nearest
            close = np.zeros(len(value), dtype=np.bool_)
            for author in _authors_close_to(place, order, authors, reserved, settings.author_gap):
                close |= authors == author
            spaced = free & ~close
            index = int(np.where(spaced if spaced.any() else free, marginal, -np.inf).argmax())
            draw = drawn.get(place) if drawn is not None else None
            if draw is not None:
                index = draw(index, out | close)
        order.append(index)
        free[index] = False
        out[index] = True
        nearest = np.maximum(nearest, vectors @ vectors[index])
        by_author += authors == authors[index]
    return order


def _authors_close_to(
    place: int, order: list[int], authors: NDArray[np.int32], reserved: Mapping[int, int], gap: int
) -> list[int]:
    before = order[max(0, place - gap) :]
    after = [reserved[later] for later in range(place + 1, place + gap + 1) if later in reserved]
    return [int(authors[index]) for index in (*before, *after)]
