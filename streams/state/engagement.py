"""What an action says of a viewer's interest, and a video's decayed engagement.

What reaches a video counts once a day for each viewer (`influence`): `total_impressions` is the sum over viewers of the days,
each begun by the viewer's first interaction by the broker's clock, in which they saw the video.
"""

from msgspec import Struct, field

from streams.events import VideoStats
from streams.state.decay import AHEAD_MS, Decay

# Interest an action shows, -1 (never again) to 1 (more of this). The order follows the weights that For You published
# (like and share above a completed view, not interested and report below a skip); the scale is one video's worth.
INTEREST: dict[str, float] = {
    "impression": 0.0, "play": 0.1, "progress": 0.2, "complete": 0.6, "like": 1.0, "unlike": -1.0, "comment": 0.8,
    "share": 1.0, "follow": 0.8, "gift": 1.0, "skip": -0.4, "not_interested": -1.0, "report": -1.0, "leave": 0.0,
}  # fmt: skip

# A day: shorter forgets a video between one evening and the next, longer keeps yesterday's hit on top.
HALF_LIFE_MS = 86_400_000

# Which count of VideoStats an action moves, and by how much.
COUNTS: dict[str, tuple[str, float]] = {
    "impression": ("impressions", 1.0), "play": ("plays", 1.0), "complete": ("completions", 1.0), "like": ("likes", 1.0),
    "unlike": ("likes", -1.0), "share": ("shares", 1.0), "comment": ("comments", 1.0), "skip": ("skips", 1.0),
    "not_interested": ("skips", 1.0), "report": ("reports", 1.0),
}  # fmt: skip


class Engaged(Struct, frozen=True, gc=False):
    """One counted interaction, seen from its video. `watch_share` is the part of it that was watched, 0..1.

    It happened `at`, and the broker had it at `received_at`, both Unix ms; `trace` is there where that is sampled.
    """

    video_id: str
    action: str
    at: int
    watch_share: float | None
    received_at: int
    trace: str | None = None


class VideoEngagementState(Struct):
    """The decayed counts of one video."""

    decay: Decay = field(default_factory=lambda: Decay(HALF_LIFE_MS))
    counts: dict[str, float] = field(default_factory=dict)
    total_impressions: int = 0
    newest_at: int = 0
    gone: bool = False
    video_id: str = ""

    def apply(self, engaged: Engaged) -> None:
        """Count one interaction."""
        if self.newest_at > engaged.received_at + AHEAD_MS:
            self.decay.set_back(self.newest_at - engaged.received_at)
            self.newest_at = engaged.received_at
        factor = self.decay.rebase(engaged.at)
        if factor != 1.0:
            self.counts = {name: total * factor for name, total in self.counts.items()}
        gain = self.decay.gain(engaged.at)
        if engaged.action in COUNTS:
            name, amount = COUNTS[engaged.action]
            self._add(name, amount * gain)
        if engaged.watch_share is not None:
            self._add("watched", engaged.watch_share * gain)
            self._add("watches", gain)
        self.total_impressions += engaged.action == "impression"
        self.newest_at = max(self.newest_at, engaged.at)

    def _add(self, name: str, amount: float) -> None:
        self.counts[name] = self.counts.get(name, 0.0) + amount

    def stats(self, video_id: str) -> VideoStats:
        """Return the counts as they are at the newest event's time."""
        gain = self.decay.gain(self.newest_at)
        names = ("impressions", "plays", "completions", "likes", "shares", "comments", "skips", "reports")
        decayed = {name: max(0.0, self.counts.get(name, 0.0) / gain) for name in names}
        watches = self.counts.get("watches", 0.0)
        return VideoStats(
            video_id=video_id,
            as_of=self.newest_at,
            watch_share=min(1.0, self.counts.get("watched", 0.0) / watches) if watches else 0.0,
            total_impressions=self.total_impressions,
            **decayed,
        )
