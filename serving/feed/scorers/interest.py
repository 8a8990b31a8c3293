"""How near a video is to what the viewer likes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.columns import Floats
from serving.feed.candidates import Candidates
from serving.feed.query import Query, Taste

# Nearness to one liked video counts a little less than nearness to what runs through many.
_ONE_LIKE = 0.9


def similarity(taste: Taste, vectors: NDArray[np.float32]) -> Floats:
    """Return the cosine, shape (n,), of `vectors`, (n, 384), to a taste: to its interests together or to one liked video."""
    near = np.zeros(len(vectors), dtype=np.float32)
    if len(taste.interests):
        near = vectors @ (taste.weights @ taste.interests)
    if len(taste.liked_vectors):
        liked = (vectors @ taste.liked_vectors.T).max(axis=1) * np.float32(_ONE_LIKE)
        near = np.maximum(near, liked)
    return near


@dataclass(frozen=True)
class Interest:
    weight: float
    name: str = "interest"

    def score(self, query: Query, candidates: Candidates) -> Floats:
        return np.float32(self.weight) * similarity(query.taste, candidates.embedded())
