"""What towers need to go on learning where they ended, as one file of a release beside those that serve."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.retrieval.codes import Codes
from models.retrieval.reading import Reading
from models.retrieval.recipe import Recipe
from models.retrieval.terms import Group, Terms
from models.retrieval.towers import Towers

# Of another format it is left alone, and towers learn from nothing.
FORMAT = 1
CHECKPOINT = "checkpoint.pt"

# Of each weight, by its name: what Adam remembers of its gradients, and the number of steps.
Moments = Mapping[str, Mapping[str, Tensor]]


class BadCheckpoint(ValueError):
    """This is nothing to go on from. The message says what was expected and what came."""


@dataclass(frozen=True)
class Checkpoint:
    """Towers that learned from watches of the videos `video_ids`, in the order of their rows, until `until` (Unix ms).

    They were trained from nothing at `began` (Unix ms): how they read videos is of then. `moments` are empty where they have
    not gone on since; without them each going on would begin with steps that are too large.
    """

    recipe: Recipe
    reading: Reading
    weights: Mapping[str, Tensor]
    moments: Moments
    video_ids: tuple[str, ...]
    began: int
    until: int

    @staticmethod
    def of(
        towers: Towers, video_ids: Sequence[str], *, began: int, until: int, optimiser: torch.optim.Optimizer | None = None
    ) -> "Checkpoint":
        """Return the checkpoint of towers as they are, with what the optimiser that they learn on by remembers."""
        weights = {name: weight.detach().cpu().clone() for name, weight in towers.named_parameters()}
        remembered = {} if optimiser is None else optimiser.state
        moments = {
            name: {of: value.detach().cpu().clone() for of, value in remembered[weight].items()}
            for name, weight in towers.named_parameters()
            if weight in remembered
        }
        return Checkpoint(towers.recipe, towers.video.known.reading, weights, moments, tuple(video_ids), began, until)

    def fits(self, recipe: Recipe) -> bool:
        """Return whether they are towers of a recipe, but for how large its batches are and what is drawn."""
        return replace(self.recipe, places=0, negatives=None, seed=0) == replace(recipe, places=0, negatives=None, seed=0)

    def written(self) -> bytes:
        """Return it as a file."""
        reading = self.reading
        held = {
            "format": FORMAT,
            "recipe": asdict(self.recipe),
            "centre": torch.from_numpy(reading.centre),
            "scale": reading.scale,
            "terms": [asdict(group) for group in reading.terms.groups],
            "codes": torch.from_numpy(reading.codes.centres),
            "weights": dict(self.weights),
            "moments": {name: dict(each) for name, each in self.moments.items()},
            "video_ids": list(self.video_ids),
            "began": self.began,
            "until": self.until,
        }
        with io.BytesIO() as file:
            torch.save(held, file)
            return file.getvalue()

    @staticmethod
    def read(path: Path) -> "Checkpoint":
        """Return what is in a file.

        Raises:
            BadCheckpoint: it is not there, not whole, or of another format.
        """
        try:
            # Of tensors and plain values only: a pickle of anything else could do anything.
            return _read(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:
            # Torch, zip and pickle each have errors of their own for what is cut off.
            raise BadCheckpoint(f"{path}: expected a whole checkpoint, got {type(error).__name__}: {error}") from error


def _read(held: Any) -> Checkpoint:
    if held["format"] != FORMAT or set(held["recipe"]) != {field.name for field in fields(Recipe)}:
        raise BadCheckpoint(f"format {held['format']}, not {FORMAT}, or a recipe that is not of this version")
    terms = Terms(tuple(Group(**group) for group in held["terms"]))
    return Checkpoint(
        recipe=Recipe(**held["recipe"]),
        reading=Reading(held["centre"].numpy(), float(held["scale"]), terms, Codes(held["codes"].numpy())),
        weights=held["weights"],
        moments=held["moments"],
        video_ids=tuple(held["video_ids"]),
        began=int(held["began"]),
        until=int(held["until"]),
    )
