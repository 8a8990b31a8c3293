"""Exponential decay that does not care in which order events come.

Forward decay (Cormode et al., ICDE 2009): an event at `t` adds weight·2^((t - landmark)/half_life) to a sum; dividing by
2^((now - landmark)/half_life) gives the decayed value. Sums need no touching while time passes, late events count what
they should, and a window would keep every event of a viral video in memory.
"""

from msgspec import Struct

# Sums are rescaled before 2^REBASE_AFTER: float32 ends at 2^127, and rescaling more often than needed costs time.
REBASE_AFTER = 60.0
# A state whose newest event is further ahead of the broker's clock than this was made by a clock that ran ahead and was set
# back: producers may be ahead by five minutes, and the clocks of a cluster's brokers by seconds.
AHEAD_MS = 3_600_000


class Decay(Struct):
    """The moving landmark of one half-life."""

    half_life_ms: int
    landmark_ms: int = 0

    def gain(self, at: int) -> float:
        """Return what an event of weight 1 at `at` adds to a sum."""
        return float(2.0 ** ((at - self.landmark_ms) / self.half_life_ms))

    def rebase(self, at: int) -> float:
        """Move the landmark to `at` if it is far behind; return the factor to scale existing sums by (1 if it stayed)."""
        if self.landmark_ms == 0:
            self.landmark_ms = at
        exponent = (at - self.landmark_ms) / self.half_life_ms
        if exponent < REBASE_AFTER:
            return 1.0
        self.landmark_ms = at
        return float(2.0**-exponent)

    def set_back(self, by_ms: int) -> None:
        """Take all that was added as added `by_ms` earlier."""
        if self.landmark_ms:
            self.landmark_ms -= by_ms

    def value(self, total: float, now: int) -> float:
        """Return the decayed value at `now` of a sum of gains."""
        return total / self.gain(now) if total else 0.0
