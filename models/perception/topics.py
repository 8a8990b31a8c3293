"""Topics of a video by what its words and frames are near to, with no training: the taxonomy is `topics.toml`."""

import tomllib
from collections.abc import Iterable
from functools import cached_property
from importlib.resources import files

import numpy as np

from models.perception.encoders import TextEncoder
from streams.events import TopicScore
from streams.features import Vector

# Of 905 short-video titles with a hashtag that names a topic, half of the topics found above this were among the hashtags,
# which leave out many. Lower, more is guessed than known; higher, most titles have no topic at all.
THRESHOLD = 0.25
# A logistic fit of "is among the hashtags" on the similarity, on the same titles: .25 at the threshold, .7 at .41.
SLOPE, MIDDLE = 12.1, 0.34
MOST = 3
# A tag that is longer is no name of a topic.
LONGEST = 64


class Topics:
    """The taxonomy in the text space. Embedded at first use, so that an encoder that is away at the start is no failure yet."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._words: dict[str, str] = tomllib.loads(files(__package__).joinpath("topics.toml").read_text(encoding="utf-8"))
        self.names = tuple(self._words)

    @cached_property
    def _texts(self) -> Vector:
        return self._encoder.texts([*self.names, *self._words.values()])

    @cached_property
    def vectors(self) -> Vector:
        """Return the direction of each of `names`, float32 (n, 384)."""
        return self.directions(self._texts[: len(self.names)] + self._texts[len(self.names) :])

    def directions(self, embeddings: Vector) -> Vector:
        """Return what sets subjects apart, as unit vectors (n, 384): their embeddings less what all topics share.

        A short text is near every short text, "hello" as near to "politics" as a speech in parliament. Without the shared part
        "hello" is near none, and eight titles on politics are all nearer to "politics" than twenty on other things.
        """
        units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        apart = units - self._texts.mean(axis=0)
        directions: Vector = apart / np.linalg.norm(apart, axis=1, keepdims=True)
        return directions

    def of(self, embedding: Vector, tags: Iterable[str] = ()) -> tuple[TopicScore, ...]:
        """Return what `tags` name, with confidence 1, and at most three topics near a unit vector, (384,), nearest first."""
        scores = {name: 1.0 for tag in tags if (name := tag.strip().lstrip("#").casefold()[:LONGEST])}
        similarities = self.vectors @ embedding
        for at in np.argsort(-similarities)[:MOST]:
            if similarities[at] > THRESHOLD:
                scores.setdefault(self.names[at], round(confidence(float(similarities[at])), 3))
        return tuple(TopicScore(name, score) for name, score in scores.items())


def confidence(similarity: float) -> float:
    """Return the probability that a video at this similarity to a topic has it."""
    return float(1 / (1 + np.exp(-SLOPE * (similarity - MIDDLE))))
