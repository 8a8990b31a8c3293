"""Which events were seen already, so that one delivered twice counts once."""

from msgspec import Struct, field

from streams.state.digests import DIGEST_BYTES, digest, row_at

# A request that is sent again holds at most 1,000 events (api.max_batch), and they may all be one viewer's. Larger costs
# memory and snapshot time for each viewer (8 bytes an event); smaller lets such a request count twice.
KEPT = 1024


class RecentIds(Struct):
    """The last `KEPT` event ids of one key, as 64-bit hashes, oldest first: two different ids collide once in 10^16."""

    seen: bytearray = field(default_factory=bytearray)

    def is_new(self, event_id: str) -> bool:
        """Return whether `event_id` was not seen among the last `KEPT`, and remember it."""
        hashed = digest(event_id)
        if row_at(self.seen, hashed, DIGEST_BYTES) != -1:
            return False
        if len(self.seen) >= KEPT * DIGEST_BYTES:
            del self.seen[:DIGEST_BYTES]
        self.seen += hashed
        return True
