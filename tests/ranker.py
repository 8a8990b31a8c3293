"""A ranker in a folder for the tests of every room: it was never taught, and computes what its random weights say."""

from pathlib import Path

import numpy as np
import torch

from models.ranking import folder
from models.ranking.network import Network
from models.ranking.recipe import Recipe
from tests.models.planted import features


def network(seed: int = 0) -> Network:
    """Return a network of random weights that knows how features are spread."""
    torch.manual_seed(seed)
    return Network.of(Recipe(), features(np.random.default_rng(seed), 500)).eval()


def write(to: Path, seed: int = 0) -> Path:
    """Write it to a folder, and return that."""
    folder.write(network(seed), to, learned_until=7)
    return to
