"""The multi-objective ranker as it learns: a trunk that all objectives share, a head each, and what a place adds by itself.

The place on the page is an input of training alone, added to the logits (the shallow tower of Zhao et al., "Recommending What
Video to Watch Next", RecSys 2019): what the first place earns by being first is not credited to what stands there. Serving
compares all candidates as if each stood first.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.ranking.features import FEATURES, Matrix
from models.ranking.objectives import OBJECTIVES
from models.ranking.recipe import Recipe

# Places that are told apart; all later ones are alike. More would each have too few rows to learn from.
PLACES = 20
# Standard deviations from the mean, at which an input is cut: further out is what was never seen, and a linear part would
# follow it anywhere.
FURTHEST = 5.0
# A feature that hardly varied in training, as one that is not filled yet, would be blown up once it does.
LEAST_SPREAD = 1e-2


class Network(nn.Module):
    """Features, (n, f), to the probability (or expected share) of each objective, (n, objectives)."""

    mean: Tensor
    spread: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, recipe: Recipe, mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.recipe = recipe
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        self.trunk = nn.Sequential(
            nn.Linear(len(FEATURES), recipe.width),
            nn.SiLU(),
            nn.Dropout(recipe.dropout),
            nn.Linear(recipe.width, recipe.shared),
            nn.SiLU(),
        )
        self.heads = nn.Linear(recipe.shared, len(OBJECTIVES))
        # What is proportional needs no detour.
        self.direct = nn.Linear(len(FEATURES), len(OBJECTIVES), bias=False)
        self.places = nn.Parameter(torch.zeros(PLACES, len(OBJECTIVES)))
        # Calibration, set once the rest has learned. An objective at its base rate has a scale of 0.
        self.register_buffer("scale", torch.ones(len(OBJECTIVES)))
        self.register_buffer("shift", torch.zeros(len(OBJECTIVES)))

    @classmethod
    def of(cls, recipe: Recipe, features: Matrix) -> "Network":
        """Return a network that has learned nothing but how `features`, (n, f), are spread."""
        mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), LEAST_SPREAD)
        return cls(recipe, torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(spread.astype(np.float32)))

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits of first places, (n, objectives), before calibration."""
        # As the log has them, so that both see the same number.
        rounded = features.half().float()
        x = ((rounded - self.mean) / self.spread).clamp(-FURTHEST, FURTHEST)
        logits: Tensor = self.heads(self.trunk(x)) + self.direct(x)
        return logits

    def placed(self, features: Tensor, positions: Tensor) -> Tensor:
        """Return the logits, (n, objectives), at `positions`, (n,), before calibration."""
        added = self.places[positions.clamp(max=PLACES - 1)] - self.places[0]
        return self.logits(features) + added

    def calibrated(self, logits: Tensor) -> Tensor:
        """Return the probabilities, (n, objectives), of logits."""
        return torch.sigmoid(logits * self.scale + self.shift)

    def forward(self, features: Tensor) -> Tensor:
        return self.calibrated(self.logits(features))

    def predict(self, features: Matrix, positions: NDArray[np.int64] | None = None) -> Matrix:
        """Return the probabilities, (n, objectives), at `positions`, or at first places."""
        self.eval()
        with torch.inference_mode():
            rows = torch.from_numpy(features)
            logits = self.logits(rows) if positions is None else self.placed(rows, torch.from_numpy(positions))
            predicted: Matrix = self.calibrated(logits).numpy()
        return predicted
