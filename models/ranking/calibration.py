"""Calibration: logits stretched and moved so that of what is predicted with 0.2, one in five happens.

Temperature and bias (Platt, 1999; Guo et al., "On Calibration of Modern Neural Networks", ICML 2017), held near 1 and 0 by a
prior, so that few rows move them little.
"""

import numpy as np
from numpy.typing import NDArray

# How far scale and shift may be expected from 1 and 0. Wider lets a few rows of a rare objective turn its head around.
SCALE_SPREAD, SHIFT_SPREAD = 0.5, 2.0
# Newton's method is there after five; of what is separated entirely the prior holds the end.
STEPS = 30
# A scale of 0 or below would turn an order around that was learned from ten times as many rows.
LEAST_SCALE = 0.05

Values = NDArray[np.float64]


def fitted(logits: Values, values: Values) -> tuple[float, float]:
    """Return the scale and shift of `logits`, (n,), by which they predict `values`, (n,) in 0..1, best."""
    inputs = np.stack([logits, np.ones_like(logits)], axis=1)
    centre, precision = np.array([1.0, 0.0]), np.array([SCALE_SPREAD, SHIFT_SPREAD]) ** -2.0
    found = centre.copy()
    for _ in range(STEPS):
        predicted = sigmoid(inputs @ found)
        slope = inputs.T @ (predicted - values) + precision * (found - centre)
        bend = (inputs * (predicted * (1.0 - predicted))[:, None]).T @ inputs + np.diag(precision)
        step = np.linalg.solve(bend, slope)
        # Half a unit at a time: far from the end Newton's steps go too far.
        found = found - step * min(1.0, 0.5 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-8:
            break
    return max(LEAST_SCALE, float(found[0])), float(found[1])


def sigmoid(logits: Values) -> Values:
    """Return the probabilities of logits, any shape."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def logit(probability: float) -> float:
    """Return the logit of a probability, which is neither 0 nor 1."""
    return float(np.log(probability) - np.log1p(-probability))
