"""What towers need to go on learning where they ended, as one file of a release beside those that serve."""

import io
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

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


class BadCheckpoint(ValueError):
    """This is nothing to go on from. The message says what was expected and what came."""


@dataclass(frozen=True)
class Checkpoint:
    """Towers that learned from watches of the videos `video_ids`, in the order of their rows, until `until` (Unix ms).

    They began from nothing when `began` (Unix ms) was the newest watch: how they read videos is of then.
    """

    recipe: Recipe
    reading: Reading
    weights: dict[str, Tensor]
    video_ids: tuple[str, ...]
    began: int
    until: int

    @staticmethod
    def of(towers: Towers, video_ids: Sequence[str], *, began: int, until: int) -> "Checkpoint":
        """Return the checkpoint of towers as they are."""
        weights = {name: weight.detach().cpu().clone() for name, weight in towers.state_dict().items()}
        return Checkpoint(towers.recipe, towers.video.known.reading, weights, tuple(video_ids), began, until)

    def fits(self, recipe: Recipe) -> bool:
        """Return whether they are towers of a recipe, but for how large its batches are and what is drawn."""
        return replace(self.recipe, places=0, negatives=None, seed=0) == replace(recipe, places=0, negatives=None, seed=0)

    def written(self) -> bytes:
        """Return it as a file."""
        reading = self.reading
        with io.BytesIO() as file:
            torch.save(
                {
                    "format": FORMAT,
                    "recipe": asdict(self.recipe),
                    "centre": torch.from_numpy(reading.centre),
                    "scale": reading.scale,
                    "terms": [asdict(group) for group in reading.terms.groups],
                    "codes": torch.from_numpy(reading.codes.centres),
                    "weights": self.weights,
                    "video_ids": list(self.video_ids),
                    "began": self.began,
                    "until": self.until,
                },
                file,
            )
            return file.getvalue()

    @staticmethod
    def read(path: Path) -> "Checkpoint":
        """Return what is in a file.

        Raises:
            BadCheckpoint: it is not there, not whole, or of another format.
        """
        try:
            # Of tensors and plain values only: a pickle of anything else could do anything.
            held = torch.load(path, map_location="cpu", weights_only=True)
            if held["format"] != FORMAT or set(held["recipe"]) != {field.name for field in fields(Recipe)}:
                raise BadCheckpoint(f"{path}: expected format {FORMAT} with a recipe of this version")
            terms = Terms(tuple(Group(**group) for group in held["terms"]))
            return Checkpoint(
                recipe=Recipe(**held["recipe"]),
                reading=Reading(held["centre"].numpy(), float(held["scale"]), terms, Codes(held["codes"].numpy())),
                weights=held["weights"],
                video_ids=tuple(held["video_ids"]),
                began=int(held["began"]),
                until=int(held["until"]),
            )
        except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            if isinstance(error, BadCheckpoint):
                raise
            raise BadCheckpoint(f"{path}: expected a whole checkpoint, got {type(error).__name__}: {error}") from error
