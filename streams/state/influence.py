"""How much one viewer may move a video's statistics: each count once a day and a like as a state, whatever is sent."""

from msgspec import Struct, field

from streams.state.digests import DIGEST_BYTES, digest, row_at
from streams.state.engagement import COUNTS

# A day by the broker's clock, from the viewer's first interaction on: what a viewer sends can't move it. A shorter one lets
# one viewer count more often; a longer one remembers more videos of each viewer.
WINDOW_MS = 86_400_000
# Videos of one viewer that count in a window, a clip each ten seconds for five hours. The next ones wait for the next window:
# were the oldest forgotten instead, a viewer could go round more videos than this and count again. 10 bytes each.
VIDEOS_KEPT = 2_000

_LIKES = COUNTS["like"][0]
# The counts an action moves share a bit, so that a skip and a "not interested" are one word. A `leave` says how long.
_NAMES = sorted({name for name, _ in COUNTS.values()} | {"watched"})
_BIT = {name: 1 << place for place, name in enumerate(_NAMES)}
_COUNT_OF = {action: name for action, (name, _) in COUNTS.items()} | {"leave": "watched"}
# Of each video its id's hash, and a bit a count that it had of the viewer.
ROW_BYTES = DIGEST_BYTES + 2


class Influence(Struct):
    """What counted already of one viewer in this window: a row a video, and the times of the likes that stand, by row."""

    began_at: int = 0
    videos: bytearray = field(default_factory=bytearray)
    liked_at: dict[int, int] = field(default_factory=dict)

    def set_back(self, to: int) -> None:
        """Take a window that began after `to` as begun then."""
        self.began_at = min(self.began_at, to)

    def admit(self, video_id: str, action: str, at: int, received_at: int) -> int | None:
        """Return the time, Unix ms, at which `action` counts for the video, or None where it moves nothing.

        That is `at`, but for an unlike the time of the like that it takes back: together the two are nothing. Of one viewer
        and video a window counts each of `VideoStats`' counts once; likes as a state, 0 or 1, however often it changes.
        """
        name = _COUNT_OF.get(action)
        if name is None:
            return None
        if received_at >= self.began_at + WINDOW_MS:
            self.began_at, self.videos, self.liked_at = received_at, bytearray(), {}
        hashed = digest(video_id)
        row = row_at(self.videos, hashed, ROW_BYTES)
        if row == -1:
            row = len(self.videos)
            if row >= VIDEOS_KEPT * ROW_BYTES:
                return None
            self.videos += hashed + bytes(2)
        if name == _LIKES:
            return self._turn(row, action, at)
        bits = slice(row + DIGEST_BYTES, row + ROW_BYTES)
        counted = int.from_bytes(self.videos[bits], "little")
        if counted & _BIT[name]:
            return None
        self.videos[bits] = (counted | _BIT[name]).to_bytes(2, "little")
        return at

    def _turn(self, row: int, action: str, at: int) -> int | None:
        """Give or take back the like; a second one, and taking back one that is not there, is nothing."""
        given_at = self.liked_at.get(row)
        if (action == "like") == (given_at is not None):
            return None
        if given_at is None:
            self.liked_at[row] = at
            return at
        del self.liked_at[row]
        return given_at
