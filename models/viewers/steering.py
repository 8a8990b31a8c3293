"""How much a video is about what a viewer asked for in words: one measure for the ranker and for the feed."""

import numpy as np

from streams.features import Vector

# A video's similarity to what a wish names, from which it is about it, and at which it is wholly so. Titles on politics are at
# .15 to .35 from "politics", others below .06; so with cooking, .28 to .42 and .11.
ABOUT_FROM, ABOUT_WHOLLY = 0.10, 0.20


def about(directions: Vector, embeddings: Vector) -> Vector:
    """Return how much each video, (n, d), is about each wish, (wishes, d): (wishes, n), each 0..1."""
    similarity = directions @ embeddings.T
    share: Vector = np.clip((similarity - ABOUT_FROM) / (ABOUT_WHOLLY - ABOUT_FROM), 0.0, 1.0).astype(np.float32)
    return share
