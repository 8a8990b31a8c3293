"""Policies that can be judged by logged choices alone: each gives its contestants probabilities, by what is in the log."""

from collections.abc import Callable, Mapping

import numpy as np

from models.ranking.evaluation.logged_choices import Floats, LoggedChoices

# Given choices and the reward that is expected of each contestant, (m,), the probability with which it would be shown, (m,):
# those of one choice add up to 1.
Policy = Callable[[LoggedChoices, Floats], Floats]

# In units of reward, of which a video watched to its end earns 1. Smaller, and weights near those of the best alone, which few
# choices can judge; larger, and the policy is nearly an even draw.
TEMPERATURE = 0.2


def as_logged(choices: LoggedChoices, expected: Floats) -> Floats:
    """Choose as it was chosen: its value must be the mean reward, which checks the log and the estimators."""
    return choices.propensities


def uniform(choices: LoggedChoices, expected: Floats) -> Floats:
    """Draw evenly among the new videos that could have won."""
    return 1.0 / np.repeat(np.diff(choices.starts), np.diff(choices.starts))


def softmax(choices: LoggedChoices, expected: Floats) -> Floats:
    """Draw by what is expected, e to its power over TEMPERATURE."""
    return _shares(choices, np.exp((expected - _best(choices, expected)) / TEMPERATURE))


def greedy(choices: LoggedChoices, expected: Floats) -> Floats:
    """Show what most is expected of; where several are, draw among them."""
    return _shares(choices, (expected == _best(choices, expected)).astype(np.float64))


TARGETS: Mapping[str, Policy] = {
    "as logged": as_logged,
    "uniform among the new": uniform,
    "softmax of expected reward": softmax,
    "best by expected reward": greedy,
}


def _shares(choices: LoggedChoices, amounts: Floats) -> Floats:
    shares: Floats = amounts / np.add.reduceat(amounts, choices.shown)[choices.choice_of]
    return shares


def _best(choices: LoggedChoices, expected: Floats) -> Floats:
    best: Floats = np.maximum.reduceat(expected, choices.shown)[choices.choice_of]
    return best
