"""Which new videos get the places kept for them: Thompson sampling over what is known of each so far.

Chapelle and Li, "An Empirical Evaluation of Thompson Sampling" (NeurIPS 2011).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.columns import Floats


@dataclass(frozen=True)
class Pick:
    """A contestant, by its index, and the probability with which it won its place, given the places before."""

    index: int
    propensity: float


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
    propensity is the share of all of them that the winner wins, so it is never 0, and too large by at most 1/draws.
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
        picks.append(Pick(winner, float((winners == winner).mean())))
        chances[:, authors == authors[winner]] = -1.0
    return picks
