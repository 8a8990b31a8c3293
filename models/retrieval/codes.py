"""Semantic ids: an embedding as a few codes, coarse to fine, so that videos of a kind share what is learned of any of them.

Residual quantisation by k-means (as ids of items: Rajput et al., "Recommender Systems with Generative Retrieval", 2023): each
level names the nearest of its centres to what the levels before it left over.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster.vq import kmeans2, vq

from streams.features import Vector

# Centres of a level: fewer say nothing, more are of a handful of videos each, as an id is.
CENTRES = 256
# Embeddings that the centres are made from: more take minutes, and move them little.
LEARNED_FROM = 20_000
ROUNDS = 10


@dataclass(frozen=True)
class Codes:
    """The centres of each level, (levels, centres, d)."""

    centres: Vector

    @staticmethod
    def made_of(embeddings: Vector, levels: int, *, seed: int) -> "Codes":
        """Return codes of so many levels for embeddings like these, (m, d), of which there are at least a few."""
        rng = np.random.default_rng(seed)
        left = embeddings[rng.permutation(len(embeddings))[:LEARNED_FROM]].astype(np.float32)
        # With a centre for each, one level would leave nothing over, and say no more than an id.
        count = max(1, min(CENTRES, len(left) // 4))
        centres = np.zeros((levels, count, embeddings.shape[1]), np.float32)
        for level in range(levels):
            centres[level], _ = kmeans2(left, count, iter=ROUNDS, minit="++", rng=rng)
            left = left - centres[level][vq(left, centres[level])[0]]
        return Codes(centres)

    def __len__(self) -> int:
        return len(self.centres) * int(self.centres.shape[1])

    def of(self, embeddings: Vector) -> NDArray[np.int64]:
        """Return the codes of n embeddings, (n, levels), each among all levels' centres."""
        left, count = embeddings.astype(np.float32), self.centres.shape[1]
        codes = np.zeros((len(embeddings), len(self.centres)), np.int64)
        for level, centres in enumerate(self.centres):
            nearest, _ = vq(left, centres)
            codes[:, level] = level * count + nearest
            left = left - centres[nearest]
        return codes

    def weights(self, embeddings: Vector) -> sparse.csr_matrix:
        """Return the codes as a matrix of features, float32 (n, codes): each row of unit length."""
        codes = self.of(embeddings)
        n, levels = codes.shape
        values = np.full(codes.size, levels**-0.5 if levels else 0.0, np.float32)
        return sparse.csr_matrix((values, codes.ravel(), np.arange(n + 1) * levels), shape=(n, len(self)))
