"""Which new videos get the places kept for them: Thompson sampling over what is known of each so far.

Chapelle and Li, "An Empirical Evaluation of Thompson Sampling" (NeurIPS 2011).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serving.columns import Floats

# More are not told of: a slate must stay small, and what wins fewer than one draw in a hundred can hardly be evaluated anyway.
RIVALS_KEPT = 64


@dataclass(frozen=True)
class Pick:
    """A contestant, by its index, and the probability with which it won its place, given the places before.

    `rivals` are the others that could have won it, with theirs: together they add up to 1.
    """

    index: int
    propensity: float
    rivals: dict[int, float] = field(default_factory=dict)


def compete(
    rng: np.random.Generator,
    *,
    successes: Floats,
    failures: Floats,
    merit: Floats,
    authors: NDArray[np.int32],
    places: int,
    draws: int,
    prior: tuple[float, float],
) -> list[Pick]:
    """Return the winners of up to `places` places among new videos, each author once.

    A video's chance of success is drawn from its Beta posterior and weighed by `merit` (above 0: how well it fits the
    viewer, how urgent it is); the largest wins. `draws` joint draws are made, the first for the first place and so on; the
    propensity is the share that the winner wins of the draws from its place's own on. Any of these could as well have come
    first, so among videos that win one of them it is no estimate but exact.
    """
    if len(merit) == 0 or places == 0:
        return []
    chances = rng.beta(prior[0] + successes, prior[1] + failures, size=(max(draws, places), len(merit))) * merit
    picks = []
    for place in range(places):
        winners = chances.argmax(axis=1)
        winner = int(winners[place])
        if chances[place, winner] < 0.0:
            break
        won = np.bincount(winners[place:]) / (len(winners) - place)
        propensity, won[winner] = float(won[winner]), 0.0
        best = np.argsort(-won, kind="stable")[: min(RIVALS_KEPT, np.count_nonzero(won))]
        picks.append(Pick(winner, propensity, dict(zip(best.tolist(), won[best].tolist(), strict=True))))
        chances[:, authors == authors[winner]] = -1.0
    return picks
