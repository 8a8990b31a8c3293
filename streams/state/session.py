"""What a viewer does in one sitting: how much, for how long, and how many skips in a row."""

from msgspec import Struct

from streams.events import Interaction

# A pause this long ends a sitting, as is usual in web analytics.
GAP_MS = 30 * 60_000

_RESETS = frozenset({"complete", "like", "comment", "share", "follow", "gift"})


class Session(Struct):
    """The current sitting of one viewer."""

    session_id: str = ""
    started_at: int = 0
    last_at: int = 0
    events: int = 0
    watch_ms: int = 0
    skip_streak: int = 0

    def set_back(self, by_ms: int) -> None:
        """Take the sitting as `by_ms` earlier."""
        self.started_at -= by_ms
        self.last_at -= by_ms

    def apply(self, interaction: Interaction) -> None:
        """Count one interaction; a new session id, or a pause of 30 min, begins a new sitting."""
        named = interaction.session_id
        if interaction.occurred_at - self.last_at > GAP_MS or (named is not None and named != self.session_id):
            self.session_id = named or interaction.event_id
            self.started_at = interaction.occurred_at
            self.events = self.watch_ms = self.skip_streak = 0
        self.last_at = max(self.last_at, interaction.occurred_at)
        self.events += 1
        if interaction.action in ("skip", "not_interested"):
            self.skip_streak += 1
        elif interaction.action in _RESETS:
            self.skip_streak = 0
        # A player reports the time watched so far; only its last word on a video may count.
        if interaction.watch_ms is not None and interaction.action in ("complete", "skip", "leave", "not_interested"):
            self.watch_ms += interaction.watch_ms
