"""How what is in any video becomes numbers, as learned from the videos of a log: the same when training and when serving."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.retrieval.codes import Codes
from models.retrieval.log import WatchLog
from models.retrieval.recipe import Recipe
from models.retrieval.terms import Terms
from streams.features import Vector


@dataclass(frozen=True)
class Reading:
    """The embedding of a title less `centre`, by `scale`; the terms of its words; and its semantic ids."""

    centre: Vector
    scale: float
    terms: Terms
    codes: Codes

    @staticmethod
    def made_of(log: WatchLog, titles: Vector, recipe: Recipe) -> "Reading":
        """Return how to read videos like those of a log that were watched; `titles` are all its videos', (m, d)."""
        watched = log.counts() > 0
        centre = titles[watched].mean(axis=0) if watched.any() else np.zeros(titles.shape[1], np.float32)
        scale = max(float(np.linalg.norm(titles - centre, axis=1).mean()), 1e-9)
        terms = Terms.made_of([log.texts[row] for row in np.flatnonzero(watched)], recipe.terms)
        codes = Codes.made_of(titles[watched] if watched.any() else titles, recipe.codes, seed=recipe.seed)
        return Reading(centre, scale, terms, codes)

    def __len__(self) -> int:
        return len(self.terms) + len(self.codes)

    def scaled(self, titles: Vector) -> Vector:
        """Return embeddings, (n, d), as the tower takes them."""
        return np.asarray((titles - self.centre) / self.scale, np.float32)

    def features(self, texts: Sequence[str], titles: Vector) -> sparse.csr_matrix:
        """Return the weights of n videos' terms and codes, float32 (n, terms + codes)."""
        return sparse.hstack([self.terms.of(texts), self.codes.weights(titles)]).tocsr()
