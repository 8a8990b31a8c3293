"""The ranker that serves, and how another takes its place: loaded beside it, then swapped by one assignment."""

from pathlib import Path

from models.ranking.ranker import Ranker


class Rankers:
    """Holds the ranker of the newest release. A page asks once: it ends with the one that it began with."""

    def __init__(self) -> None:
        self._current: Ranker | None = None

    def now(self) -> Ranker | None:
        """Return the ranker that serves, None where values are made by hand."""
        return self._current

    def load(self, folder: Path, version: str) -> None:
        """Let the ranker in `folder` serve. Raises BadModel: then the one before it still does."""
        self._current = Ranker.load(folder)

    def unload(self) -> None:
        """Serve by the values made by hand."""
        self._current = None
