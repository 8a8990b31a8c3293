"""What the agent learned, as a release: a LoRA adapter beside what it was learned from, and where it was measured to help."""

from math import inf
from pathlib import Path

import msgspec
from msgspec import Struct

from models.canaries import canary_of

# The release's name, and that of a newer one which only a share of viewers gets until it has shown itself.
NAME = "agent"
CANARY = canary_of(NAME)
# Counts up with the files and with the words of prompts: an adapter that learned by others is worth nothing.
FORMAT = 2
# peft's own names: the server reads them.
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
MANIFEST = "agent.json"


class BadPolicy(ValueError):
    """This folder holds no policy that can be used here. The message says what was expected and what came."""


class Segment(Struct, frozen=True, kw_only=True):
    """Viewers of whom `least` to `most` videos are known, and whether the agent's plans were measured to help them."""

    least: int
    most: int
    helps: bool
    cases: int = 0


class Calibration(Struct, frozen=True):
    """Makes honest odds of the model's own: a logit of `scale` times it and `shift`."""

    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, logit: float) -> float:
        return self.scale * logit + self.shift


class Policy(Struct, frozen=True, kw_only=True):
    """What is told of an adapter: the model it belongs to, its rank, what it learned from (Unix ms), and what was measured."""

    format: int = FORMAT
    base_model: str
    rank: int
    learned_from: int = 0
    learned_until: int = 0
    questions: int = 0
    calibration: Calibration = Calibration()
    segments: tuple[Segment, ...] = ()
    figures: dict[str, float] = {}

    def helps(self, known: int) -> bool:
        """Return whether plans for a viewer of whom so many videos are known were measured to be better with it."""
        return any(segment.helps and segment.least <= known <= segment.most for segment in self.segments)


def read(folder: Path, *, base_model: str = "", most_rank: float = inf) -> Policy:
    """Return what is told of the adapter in `folder`.

    Raises:
        BadPolicy: it is none, of another form, of another model than `base_model`, or of a higher rank than the server takes.
    """
    try:
        policy = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Policy)
    except (OSError, msgspec.MsgspecError) as error:
        raise BadPolicy(f"{folder / MANIFEST}: expected a policy, got {type(error).__name__}: {error}") from error
    if policy.format != FORMAT:
        raise BadPolicy(f"{folder}: expected form {FORMAT}, got {policy.format}; this version of Headwater reads no other")
    if base_model and policy.base_model != base_model:
        raise BadPolicy(f"{folder}: expected an adapter of {base_model}, which is served, got one of {policy.base_model}")
    if policy.rank > most_rank:
        raise BadPolicy(f"{folder}: expected a rank of at most {most_rank:g}, got {policy.rank}")
    return policy
