"""Which events were seen already, so that one delivered twice counts once."""

import mmh3
from msgspec import Struct, field

# A request that is sent again holds at most 1,000 events (api.max_batch), and they may all be one viewer's. Larger costs
# memory and snapshot time for each viewer (9 bytes an event); smaller lets such a request count twice.
KEPT = 1024


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
