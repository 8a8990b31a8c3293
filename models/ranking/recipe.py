"""Every number of the ranker's training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """A small network: it scores a thousand candidates within each request."""

    width: int = 64
    shared: int = 32
    epochs: int = 12
    batch: int = 256
    learning_rate: float = 3e-3
    # Times the rate of the rest: a lower one credits what stands first with being first.
    places_rate: float = 10.0
    # Of the full rate, where running weights go on learning: a higher one forgets them.
    warm_rate: float = 0.3
    weight_decay: float = 1e-2
    dropout: float = 0.1
    # Rows for calibration, and the newest to be judged by: fewer make a gate that passes or stops by chance.
    calibrated_share: float = 0.1
    judged_share: float = 0.1
    # Older rows beside each new one: fewer forget what is rare, more learn what is new more slowly.
    replay: float = 1.0
    # An objective with fewer cases, or fewer without it, stays at its base rate: a network would learn the viewers by heart.
    least_cases: int = 20
    seed: int = 0
