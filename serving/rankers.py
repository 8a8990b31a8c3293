"""A ranker that serves, and how another takes its place: loaded beside it, then swapped by one assignment."""

from pathlib import Path

from models.ranking.ranker import Ranker


class RankerSlot:
    """Holds the ranker of the newest release, `current`; None where values are made by hand."""

    def __init__(self) -> None:
        self.current: Ranker | None = None

    def load(self, folder: Path, version: str) -> None:
        """Let the ranker in `folder` serve. Raises BadModel: then the one before it still does."""
        self.current = Ranker.load(folder)

    def unload(self) -> None:
        """Serve by the values made by hand."""
        self.current = None
