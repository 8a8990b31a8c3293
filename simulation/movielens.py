"""MovieLens-100K from the installed recbole package: 100,000 real ratings with their times, and what the films are.

A rating is what a person said of a whole film; here it becomes what a viewer does with a video:

| stars | interactions                          |
| ----- | ------------------------------------- |
| 5     | impression, play, complete, like      |
| 4     | impression, play, complete            |
| 3     | impression, play, progress            |
| 2     | impression, skip                      |
| 1     | impression, not_interested            |

The title is the film's with its year, the tags are its genres. The data names no authors: a film's author is a stand-in studio,
one for each first genre and decade. Data under the terms of GroupLens; it is read where it was installed, never copied.
"""

import csv
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from simulation.datasets import BadDataset, Dataset, interaction
from streams.events import Action, Interaction, Upload

NAME = "movielens-100k"
MAPPING: dict[int, tuple[Action, ...]] = {
    5: ("impression", "play", "complete", "like"),
    4: ("impression", "play", "complete"),
    3: ("impression", "play", "progress"),
    2: ("impression", "skip"),
    1: ("impression", "not_interested"),
}


def read(folder: Path | None = None) -> Dataset:
    """Return the data set in `folder` (default: the one in recbole).

    Raises:
        BadDataset: recbole is not installed, or its files are not there.
    """
    folder = folder or _installed()
    ratings = [
        (int(float(row["timestamp:float"])) * 1000, row["user_id:token"], row["item_id:token"], int(float(row["rating:float"])))
        for row in _rows(folder / "ml-100k.inter")
    ]
    ratings.sort()
    first_seen: dict[str, int] = {}
    for at, _, film, _ in ratings:
        first_seen.setdefault(film, at)
    uploads = [_upload(row, first_seen[row["item_id:token"]]) for row in _films(folder) if row["item_id:token"] in first_seen]
    uploads.sort(key=lambda upload: upload.uploaded_at)
    return Dataset(
        name=NAME,
        uploads=tuple(uploads),
        interactions=lambda: _interactions(ratings),
        count=sum(len(MAPPING[stars]) for *_, stars in ratings),
        notes=(
            f"{len(ratings):,} ratings become interactions: "
            + "; ".join(f"{stars} ★ {', '.join(actions)}" for stars, actions in MAPPING.items()),
            "authors are stand-ins, one for each first genre and decade: the data names none",
        ),
    )


def _interactions(ratings: list[tuple[int, str, str, int]]) -> Iterator[Interaction]:
    for at, user, film, stars in ratings:
        for action in MAPPING[stars]:
            yield interaction(NAME, user, film, action, at)


def _upload(row: dict[str, str], at: int) -> Upload:
    film, year, genres = row["item_id:token"], row["release_year:token"], tuple(row["class:token_seq"].split())
    studio = f"{(genres or ('film',))[0].lower()}-{year[:3]}0s" if year else "undated"
    return Upload(
        event_id=f"{NAME}-upload-{film}",
        video_id=f"{NAME}-{film}",
        author_id=f"{NAME}-studio-{studio}",
        title=f"{row['movie_title:token_seq']} ({year})" if year else row["movie_title:token_seq"],
        tags=genres,
        language="en",
        uploaded_at=at,
    )


def _films(folder: Path) -> Iterator[dict[str, str]]:
    for row in _rows(folder / "ml-100k.item"):
        if row["movie_title:token_seq"]:
            yield row


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if not path.is_file():
        raise BadDataset(f"{path}: no such file; expected MovieLens-100K as recbole 1.2 carries it")
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def _installed() -> Path:
    # Found, not imported: importing recbole loads torch and takes seconds.
    spec = importlib.util.find_spec("recbole")
    if spec is None or not spec.submodule_search_locations:
        raise BadDataset(f"{NAME} comes with the package recbole, which is not installed: pip install recbole==1.2.1 --no-deps")
    return Path(spec.submodule_search_locations[0]) / "dataset_example" / "ml-100k"
