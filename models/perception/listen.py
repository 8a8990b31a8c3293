"""Step 5, listen: how much of what is to be heard is speech, and how much music."""

import numpy as np
from numpy.typing import NDArray

from models.perception.encoders import SOUND_KINDS

# Less is a guess: a door that shuts is a tenth of a second of music.
HEARD_FROM = 0.05


def heard(shares: NDArray[np.float32]) -> dict[str, float]:
    """Return the shares of speech, music and noise, (3,), by name; those too small to be sure of are left out."""
    return {kind: round(float(share), 3) for kind, share in zip(SOUND_KINDS, shares, strict=True) if share >= HEARD_FROM}
