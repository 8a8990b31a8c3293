"""Step 2, key frames: of the frames of a video's scenes, three that are near its title and differ from each other.

VRAgent-R1 (section 3.1) keeps the frames nearest to the title. Here difference counts too: three frames of one scene say once
what three scenes say thrice.
"""

import numpy as np

from models.perception.encoders import FrameReading
from streams.features import Vector

KEPT = 3
# What nearness to the title counts beside difference: more keeps what the title says already, less drops what it is about.
TITLE_WEIGHT = 0.5


def key_frames(reading: FrameReading, title: Vector, *, most: int = KEPT) -> list[int]:
    """Return the rows of at most `most` of n frames, in order; `title` is a unit vector, (384,).

    The first is the one most like all of them, and nearest to the title; each other is the farthest from those before it.
    """
    lengths = np.linalg.norm(reading.embeddings, axis=1, keepdims=True)
    directions = reading.embeddings / np.maximum(lengths, 1e-9)
    likeness = directions @ directions.T
    titled = TITLE_WEIGHT * (directions @ title)
    kept = [int(np.argmax(likeness.mean(axis=0) + titled))]
    while len(kept) < min(most, len(directions)):
        gain = (1 - likeness[:, kept]).min(axis=1) + titled
        gain[kept] = -np.inf
        kept.append(int(np.argmax(gain)))
    return sorted(kept)
