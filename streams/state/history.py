"""A viewer's last videos: each once, newest last, with the strongest thing the viewer said of it."""

from msgspec import Struct, field

from streams.events import Interaction
from streams.state.engagement import INTEREST

# Long enough for a day of scrolling, so that nothing comes back the same day; each costs about 40 bytes a viewer.
KEPT = 200
# Authors whom a viewer follows or blocked, the newest of each: all are in a feature row that each tap of the viewer writes.
AUTHORS_KEPT = 1_000


class Seen(Struct, gc=False):
    """One video in a history: interest in -1..1, and when it was last touched."""

    weight: float
    at: int


class History(Struct):
    """The last `KEPT` videos of one viewer, and the authors the viewer follows or blocked."""

    videos: dict[str, Seen] = field(default_factory=dict)
    followed: dict[str, None] = field(default_factory=dict)
    blocked: dict[str, None] = field(default_factory=dict)

    def set_back(self, to: int) -> None:
        """Take what was seen after `to` as seen then."""
        for seen in self.videos.values():
            seen.at = min(seen.at, to)

    def apply(self, interaction: Interaction, author_id: str | None) -> None:
        """Record one interaction; reporting a video blocks its author for this viewer."""
        weight = INTEREST[interaction.action]
        seen = self.videos.pop(interaction.video_id, None)
        if seen is None:
            seen = Seen(weight, interaction.occurred_at)
            if len(self.videos) >= KEPT:
                del self.videos[next(iter(self.videos))]
        else:
            seen.weight = _merge(seen.weight, interaction.action, weight)
            seen.at = max(seen.at, interaction.occurred_at)
        self.videos[interaction.video_id] = seen
        if author_id is not None:
            if interaction.action == "follow":
                _keep(self.followed, author_id)
            elif interaction.action == "report":
                _keep(self.blocked, author_id)
                self.followed.pop(author_id, None)


def _keep(authors: dict[str, None], author_id: str) -> None:
    authors.pop(author_id, None)
    authors[author_id] = None
    if len(authors) > AUTHORS_KEPT:
        del authors[next(iter(authors))]


def _merge(before: float, action: str, weight: float) -> float:
    """Return the interest after one more action: the stronger word wins, of two equally strong ones the later."""
    if action == "unlike":
        return 0.0
    return weight if abs(weight) >= abs(before) else before
