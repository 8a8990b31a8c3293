"""Real data as events: a catalogue of uploads and the interactions that followed, in the order in which they happened.

Readers keep the data's own times; `simulation.pacing` moves them to now. Ids carry the data set's name, so that several live
side by side, and an event's id is a digest of what it says: a data set replayed twice counts once.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from streams.events import Action, Interaction, Upload

# A stand-in author has about this many videos: enough that following one means something, few enough to space them.
VIDEOS_PER_AUTHOR = 20


class BadDataset(ValueError):
    """This is no data set that can be replayed. The message says what was expected and what was found."""


@dataclass(frozen=True)
class Dataset:
    """Uploads, and a way to read the interactions from the first, oldest first. `notes` say what is not in the data."""

    name: str
    uploads: tuple[Upload, ...]
    interactions: Callable[[], Iterator[Interaction]]
    count: int
    notes: tuple[str, ...] = ()


def open_dataset(source: str) -> Dataset:
    """Return the data set called `source`: `movielens-100k`, or a folder with `videos` and `interactions` files.

    Raises:
        BadDataset: there is no such data set, or its files are not as expected.
    """
    from simulation import folder, movielens

    if source == movielens.NAME:
        return movielens.read()
    path = Path(source)
    if not path.is_dir():
        raise BadDataset(f"{source}: expected {movielens.NAME}, or a folder with `videos` and `interactions` files")
    return folder.read(path)


def event_id(dataset: str, user: str, video: str, action: str, at: int) -> str:
    """Return the same id for the same event, however often it is read."""
    digest = hashlib.blake2b(f"{user}\0{video}\0{action}\0{at}".encode(), digest_size=12).hexdigest()
    return f"{dataset[:64]}-{digest}"


def interaction(dataset: str, user: str, video: str, action: Action, at: int, *, watch_ms: int | None = None) -> Interaction:
    """Return one event of `dataset`, whose users and videos are prefixed with its name."""
    return Interaction(
        event_id=event_id(dataset, user, video, action, at),
        user_id=f"{dataset}-{user}",
        video_id=f"{dataset}-{video}",
        action=action,
        occurred_at=at,
        watch_ms=watch_ms,
    )


def stand_in_author(dataset: str, video: str, videos: int) -> str:
    """Return an author for a video whose data names none: always the same, with about 20 videos each."""
    return f"{dataset}-author-{zlib.crc32(video.encode()) % max(1, videos // VIDEOS_PER_AUTHOR)}"
