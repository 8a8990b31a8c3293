"""The understanding without a language model: a rewrite put together of what is known already, in no time."""

import tomllib
from functools import cached_property
from importlib.resources import files

import numpy as np

from models.perception.encoders import TextEncoder
from models.perception.perceive import caption
from models.perception.read import joined
from models.perception.understanding import Rewrite, View, shortened, words
from streams.features import Vector

# Below this confidence a name is a guess that no viewer should read: of 21 clips, seven of the ten classes above it are right,
# and a third of those above 0.1. More names are a list that nobody reads.
NAMED_FROM, NAMED = 0.25, 4
# Words of what stands in the frames: more are credits, or a page of text.
READ = 15
# Of short-video titles this near to an audience, six of the seven looked at were for it; of those just below, two of three.
NEAR = 0.3


class PlainUnderstanding:
    """`Understanding` by the words of the title and the names of what is seen. Embeds its audiences at first use.

    It names no mood: of the moods that titles are nearest to in the text space, half are wrong.
    """

    name = "plain"

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    def rewrite(self, view: View, *, within_s: float) -> Rewrite:
        """Return the title, what is seen beside it, and who it is for. Raises PerceptionUnavailable."""
        upload = view.upload
        sure = [tag for tag in view.shown if tag.confidence >= NAMED_FROM][:NAMED]
        shows = f"shows: {caption(sure)}" if sure else ""
        reads = " ".join(joined(view.on_screen).split()[:READ])
        return Rewrite(
            summary=shortened(" — ".join(filter(None, [upload.title, shows, f"reads: {reads}" if reads else ""]))),
            topics=[],
            hook="",
            mood="",
            audience=self._audience(words(upload)),
            language=upload.language,
        )

    def _audience(self, text: str) -> str:
        if not text:
            return ""
        (vector,) = self._encoder.texts([text])
        names, directions = self._audiences
        similarities = directions @ vector
        nearest = int(np.argmax(similarities))
        return names[nearest] if similarities[nearest] > NEAR else ""

    @cached_property
    def _audiences(self) -> tuple[list[str], Vector]:
        known: dict[str, str] = tomllib.loads(files(__package__).joinpath("audiences.toml").read_text(encoding="utf-8"))
        return list(known), self._encoder.texts(list(known.values()))
