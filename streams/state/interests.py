"""What a viewer likes: decayed sums of the embeddings of what was watched, for now and for good, and of its topics."""

import numpy as np
from msgspec import Struct, field

from streams.features import Vector
from streams.state.decay import Decay

DIMENSIONS = 384
SHORT_HALF_LIFE_MS = 30 * 60_000
LONG_HALF_LIFE_MS = 14 * 86_400_000
# More topics than anyone has interests; the weakest goes.
TOPICS_KEPT = 32


def _zeros() -> Vector:
    return np.zeros(DIMENSIONS, dtype=np.float32)


class DecayedVector(Struct):
    """A decayed sum of vectors, (384,), and of the size of their weights."""

    decay: Decay
    total: Vector = field(default_factory=_zeros)
    mass: float = 0.0

    def add(self, vector: Vector, weight: float, at: int) -> None:
        """Add `weight` of a unit vector seen at `at` (Unix ms)."""
        factor = self.decay.rebase(at)
        if factor != 1.0:
            self.total *= np.float32(factor)
            self.mass *= factor
        gain = self.decay.gain(at)
        self.total += np.float32(weight * gain) * vector
        self.mass += abs(weight) * gain

    def unit(self) -> Vector:
        """Return the direction, (384,), of length 1; zeros where nothing was added."""
        length = float(np.sqrt(self.total @ self.total))
        return self.total / np.float32(length) if length > 0.0 else self.total.copy()


class Interests(Struct):
    """Interests of one viewer: short (half-life 30 min), long (14 days), and by topic (long)."""

    short: DecayedVector = field(default_factory=lambda: DecayedVector(Decay(SHORT_HALF_LIFE_MS)))
    long: DecayedVector = field(default_factory=lambda: DecayedVector(Decay(LONG_HALF_LIFE_MS)))
    topics: dict[str, float] = field(default_factory=dict)

    def add(self, vector: Vector, topics: tuple[str, ...], weight: float, at: int) -> None:
        """Add one video, of weight -1..1, seen at `at` (Unix ms)."""
        self.short.add(vector, weight, at)
        landmark = self.long.decay.landmark_ms
        self.long.add(vector, weight, at)
        if landmark not in (0, self.long.decay.landmark_ms):
            factor = 1.0 / Decay(LONG_HALF_LIFE_MS, landmark).gain(at)
            self.topics = {name: total * factor for name, total in self.topics.items()}
        gain = weight * self.long.decay.gain(at)
        for name in topics:
            self.topics[name] = self.topics.get(name, 0.0) + gain
        while len(self.topics) > TOPICS_KEPT:
            del self.topics[min(self.topics, key=lambda name: abs(self.topics[name]))]

    def set_back(self, by_ms: int) -> None:
        """Take all that was added as added `by_ms` earlier."""
        self.short.decay.set_back(by_ms)
        self.long.decay.set_back(by_ms)

    def top_topics(self, count: int = 5) -> list[str]:
        """Return the topics liked most, strongest first."""
        liked = [(total, name) for name, total in self.topics.items() if total > 0.0]
        return [name for _, name in sorted(liked, reverse=True)[:count]]
