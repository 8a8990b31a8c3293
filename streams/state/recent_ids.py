"""Which events were seen already, so that one delivered twice counts once."""

import mmh3
from msgspec import Struct, field

# A viewer's retries come within minutes and hardly ever across more events than this. Larger costs memory and snapshot
# time for each viewer (9 bytes an event); smaller lets a late duplicate of a busy viewer count twice.
KEPT = 512


class RecentIds(Struct):
    """The last `KEPT` event ids of one key, as 64-bit hashes: two different ids collide once in 10^16."""

    seen: dict[int, None] = field(default_factory=dict)

    def is_new(self, event_id: str) -> bool:
        """Return whether `event_id` was not seen among the last `KEPT`, and remember it."""
        digest = mmh3.hash64(event_id)[0]
        if digest in self.seen:
            return False
        if len(self.seen) >= KEPT:
            del self.seen[next(iter(self.seen))]
        self.seen[digest] = None
        return True
