"""What reward to expect of a video at a place: a ridge regression on the log of other viewers."""

import numpy as np
from scipy.sparse import csr_array, hstack
from scipy.sparse.linalg import lsqr

from models.ranking.evaluation.logged_choices import Floats, Ints, LoggedChoices

# More fit to more of the log, and take as long each; fewer leave less to learn from.
FOLDS = 5
# As if each video had earned the average this many times before. Smaller, and what was shown once is believed; larger, and it
# takes hundreds of choices to tell a video from others.
PENALTY = 10.0


def expected_rewards(choices: LoggedChoices, *, seed: int, folds: int = FOLDS) -> Floats:
    """Return the reward to expect of each contestant, (m,), from a model that saw no choice of the same viewer.

    Cross-fitting: Chernozhukov et al., "Double/debiased machine learning" (2018). A model that saw what it is asked about would
    take the noise in it for knowledge, and the doubly robust estimate would be biased.
    """
    fold_of = np.random.default_rng(seed).integers(folds, size=choices.viewers.max() + 1)[choices.viewers]
    expected = np.zeros(len(choices.videos))
    shape = int(choices.positions.max()) + 1, int(choices.videos.max()) + 1
    positions = choices.positions[choices.choice_of]
    for fold in range(folds):
        held = fold_of == fold
        if held.all() or not held.any():
            continue
        learned = ~held
        inputs = _inputs(choices.positions[learned], choices.videos[choices.shown][learned], shape)
        average = float(choices.rewards[learned].mean())
        weights = lsqr(inputs, choices.rewards[learned] - average, damp=np.sqrt(PENALTY))[0]
        asked = held[choices.choice_of]
        expected[asked] = average + _inputs(positions[asked], choices.videos[asked], shape) @ weights
    return expected


def explained(choices: LoggedChoices, expected: Floats) -> float:
    """Return the share of the rewards' variance that was expected (R²): at 0 or below the model knows nothing of use."""
    spread = float(((choices.rewards - choices.rewards.mean()) ** 2).sum())
    left = float(((choices.rewards - expected[choices.shown]) ** 2).sum())
    return 1.0 - left / spread if spread else 0.0


def _inputs(positions: Ints, videos: Ints, shape: tuple[int, int]) -> csr_array:
    """Return a row for each choice, with a 1 for its place and a 1 for its video."""
    rows, ones = np.arange(len(positions)), np.ones(len(positions))
    of_place = csr_array((ones, (rows, positions)), shape=(len(rows), shape[0]))
    of_video = csr_array((ones, (rows, videos)), shape=(len(rows), shape[1]))
    return csr_array(hstack([of_place, of_video]))
