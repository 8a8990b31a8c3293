"""Every number of the ranker's training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """A network of two layers that all objectives share; larger ones learned no more of 60,000 places."""

    width: int = 64
    shared: int = 32
    epochs: int = 12
    batch: int = 1024
    learning_rate: float = 3e-3
    # Of the full rate, where running weights go on learning: a higher one forgets them.
    warm_rate: float = 0.3
    weight_decay: float = 1e-2
    dropout: float = 0.1
    # Rows for calibration, and the newest to be judged by: fewer make a gate that passes or stops by chance.
    calibrated_share: float = 0.1
    judged_share: float = 0.1
    # Older rows beside each new one: fewer forget what is rare, more learn what is new more slowly.
    replay: float = 1.0
    # Of an objective with fewer cases, or fewer of its absence, a network learns the viewers by heart: it stays at its base rate.
    least_cases: int = 20
    seed: int = 0
