"""The towers' spaces on this node: the vectors of its videos as a release of the towers has them, and their index."""

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.retrieval.log import History
from models.retrieval.served import ServedTowers
from serving.columns import Floats, Rows
from serving.index import VectorIndex
from serving.settings import FeedSettings
from streams.events import Upload
from streams.state.interests import DIMENSIONS


class Shown(Protocol):
    """What a space must know of a video beside its embedding; the catalogue's `Card` is one."""

    @property
    def video(self) -> Upload: ...

    @property
    def summary(self) -> str: ...


class Space:
    """The videos of a catalogue by the towers of one release. The catalogue writes under its lock, requests read without.

    A reader sees the old array or the new one when it grows, both right for the rows that the reader knows.
    """

    def __init__(self, towers: ServedTowers, version: str, settings: FeedSettings) -> None:
        self.towers, self.version = towers, version
        # Their lengths say something, too: an index by cosine would not find the largest dot products.
        self.index = VectorIndex(settings, dimensions=towers.width, metric="ip", dtype="f16")
        self.vectors = np.zeros((1024, towers.width), np.float32)
        # Of the vectors of all videos that ever were here: their number, their sum, and the sum of their squares.
        self._count = 0
        self._sum, self._squares = np.zeros(towers.width), np.zeros((towers.width, towers.width))

    def add(self, rows: Rows, shown: Sequence[Shown], embeddings: NDArray[np.floating]) -> None:
        """Add videos, or renew those that are there: what is shown of them, and their embeddings, (n, 384)."""
        if not len(rows):
            return
        while len(self.vectors) <= rows.max(initial=0):
            self.vectors = np.concatenate([self.vectors, np.zeros_like(self.vectors)])
        ids, texts = [each.video.video_id for each in shown], [each.summary for each in shown]
        vectors = self.towers.videos(ids, texts, embeddings.astype(np.float32))
        self._count += len(vectors)
        self._sum += vectors.sum(axis=0)
        self._squares += vectors.T @ vectors
        self.index.remove(rows)
        self.vectors[rows] = vectors
        self.index.add(rows, vectors)

    def remove(self, rows: Rows) -> None:
        """Take videos out. Their vectors stay until their rows are used again: a request in flight may hold them."""
        self.index.remove(rows)

    def wanted(self, liked: History) -> Floats:
        """Return what a viewer who liked some videos wants next, (width,)."""
        return self.towers.wanted(self.vectors, liked)

    def standing(self, rows: Rows, wanted: Floats) -> Floats:
        """Return by how many deviations each of `rows`, (n,), is wanted more than a video is on average.

        By how much the scores of two videos differ depends on how the towers were trained, and so changes with a release.
        """
        mean = self._sum @ wanted / self._count
        variance = float(wanted @ self._squares @ wanted) / self._count - float(mean) ** 2
        return np.asarray((self.vectors[rows] @ wanted - mean) / math.sqrt(max(variance, 1e-12)), np.float32)


class Filling(Protocol):
    """What a catalogue does for a space: fills it with its videos and keeps it so, until the space is to leave."""

    def fill(self, space: Space, stopped: threading.Event) -> None: ...

    def leave(self, space: Space) -> None: ...


def load_space(
    catalogue: Filling, settings: FeedSettings, closing: threading.Event, folder: Path, version: str
) -> Space | None:
    """Return the towers in `folder` with all videos; seconds for 100,000. None once it is `closing`: nobody will ask.

    Raises:
        BadTowers: they can't serve.
    """
    space = Space(ServedTowers(folder, dimensions=DIMENSIONS), version, settings)
    try:
        catalogue.fill(space, closing)
    except BaseException:
        catalogue.leave(space)
        raise
    if closing.is_set():
        # It is not full.
        catalogue.leave(space)
        return None
    return space
