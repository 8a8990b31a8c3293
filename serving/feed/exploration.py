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
    """A video, by its index, and the probability with which it got its place, given the places before.

    `rivals` are the others that could have got it, with theirs: together they add up to 1.
    """

    index: int
    propensity: float
    rivals: dict[int, float] = field(default_factory=dict)


class Contest:
    """New videos that compete for one place after the other, each author once.

    A video's chance of success is drawn from its Beta posterior and weighed by `merit` (above 0: how well it fits the
    viewer, how urgent it is); the largest wins. `draws` joint draws are made, the first for the first place and so on; the
    propensity is the share that a winner wins of the draws from its place's own on. Any of these could as well have come first,
    so among videos that win one of them it is no estimate but exact.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        successes: Floats,
        failures: Floats,
        merit: Floats,
        authors: NDArray[np.int32],
        places: int,
        draws: int,
        prior: tuple[float, float],
    ) -> None:
        idle = len(merit) == 0 or places == 0
        rows = 0 if idle else max(draws, places)
        self._chances = rng.beta(prior[0] + successes, prior[1] + failures, size=(rows, len(merit))) * merit
        self._authors = authors
        self._out = np.zeros(len(merit), dtype=np.bool_)
        self._place = 0

    def __len__(self) -> int:
        return len(self._out)

    def shares(self, barred: NDArray[np.bool_] | None = None) -> tuple[int, NDArray[np.float64]] | None:
        """Decide the next place; return its winner, and the share of draws left that each contestant wins, (n,); None: nobody.

        `barred`, (n,), may not win this place. The winner stays in the contest until `take`.
        """
        row, self._place = self._place, self._place + 1
        out = self._out if barred is None else self._out | barred
        if row >= len(self._chances) or out.all():
            return None
        winners = np.where(out, -1.0, self._chances).argmax(axis=1)
        return int(winners[row]), np.bincount(winners[row:], minlength=len(out)) / (len(winners) - row)

    def take(self, winner: int) -> None:
        """Let the winner have its place: no other video of its author gets one."""
        self._out |= self._authors == self._authors[winner]

    def fill(self, places: int) -> list[Pick]:
        """Return the winners of up to `places` places, all of which are given away."""
        picks = []
        for _ in range(places):
            decided = self.shares()
            if decided is None:
                break
            winner, shares = decided
            picks.append(_pick(winner, shares))
            self.take(winner)
        return picks


@dataclass
class Lottery:
    """A place that is kept for a new video with probability `chance`: then the contest fills it, else value does.

    Either way `picks` has who got it, and with which probability, given the places before. Both ways count: by value the most
    valuable may be a new video that could have won as well, and what value put there would not have been there by the contest.
    """

    contest: Contest
    chance: float
    kept: bool
    pick: Pick | None = None
    won: int | None = None

    def draw(self, by_value: int, barred: NDArray[np.bool_]) -> int:
        """Return the index that gets the place; contestants come first in `barred`, and value would put `by_value` there."""
        decided = self.contest.shares(barred[: len(self.contest)])
        if decided is None:
            self.pick = Pick(by_value, 1.0)
            return by_value
        winner, shares = decided
        index = winner if self.kept else by_value
        probabilities = np.zeros(max(len(shares), by_value + 1))
        probabilities[: len(shares)] = self.chance * shares
        probabilities[by_value] += 1.0 - self.chance
        self.pick = _pick(index, probabilities)
        if self.kept:
            self.contest.take(winner)
            self.won = winner
        return index


def _pick(index: int, probabilities: NDArray[np.float64]) -> Pick:
    """Return who got a place, with the likeliest of the others that could have."""
    others = probabilities.copy()
    others[index] = 0.0
    best = np.argsort(-others, kind="stable")[: min(RIVALS_KEPT, np.count_nonzero(others))]
    return Pick(index, float(probabilities[index]), dict(zip(best.tolist(), others[best].tolist(), strict=True)))
