"""Which earlier uploads a video repeats: fingerprints of its frames, compared with those of every video that is known.

A fingerprint says of each of 64 places whether it is lighter than its neighbour (dHash): re-encoding, scaling and a change of
brightness leave it, another picture shares half of its bits by chance.
"""

import itertools
import threading
from collections import Counter
from collections.abc import Iterable

import numpy as np

# Before usearch: loaded after it, pyarrow takes the C++ library that usearch carries for its own, and the process aborts.
import pyarrow  # noqa: F401
from numpy.typing import NDArray
from usearch.index import Index, Matches

from streams.events import Perception, Upload
from streams.follower import Followed

BITS, BYTES = 64, 8
# Spread of luma, of 255, below which a picture is plain: all plain pictures have the same fingerprint.
PLAIN = 6.0
# Bits that may differ: 168 frames of 21 clips, made four times smaller, darker, and encoded at a poor quality, differ from
# themselves in 5 at most; 26,880 pairs of frames of different clips in 11 at least.
NEAR = 8
# The share of a video's frames that must be near to another's.
ALIKE = 0.5
# Neighbours looked at for each frame: a clip that many have copied has so many of its own.
NEIGHBOURS = 16
MOST_NAMED = 8


def fingerprints(middles: NDArray[np.uint8]) -> bytes:
    """Return the fingerprints of those frames, RGB uint8 (n, 260, 260, 3), that aren't plain: eight bytes each."""
    prints = []
    for frame in middles:
        grey = frame[2:258, 4:256] @ np.array([0.299, 0.587, 0.114])
        small = grey.reshape(8, 32, 9, 28).mean(axis=(1, 3))
        if small.std() >= PLAIN:
            prints.append(np.packbits(small[:, 1:] > small[:, :-1]).tobytes())
    return b"".join(prints)


class KnownVideos:
    """The fingerprints of every video that was seen and is not gone. Safe to share between threads."""

    def __init__(self) -> None:
        self._index = Index(ndim=BITS, metric="hamming", dtype="b1")
        # When each was uploaded, and the keys of its frames.
        self._known: dict[str, tuple[int, list[int]]] = {}
        self._videos: dict[int, str] = {}
        self._next_key = itertools.count()
        self._lock = threading.Lock()

    def take_in(self, followed: Iterable[Followed]) -> None:
        """Take in a batch of the topic `perceptions`."""
        for item in followed:
            perception = item.event
            if perception is None:
                self.forget(item.key)
            elif isinstance(perception, Perception) and perception.stage == "frames":
                self.add(perception.video, perception.fingerprints)

    def add(self, upload: Upload, prints: bytes) -> None:
        """Know a video by its fingerprints, instead of those it had."""
        self.forget(upload.video_id)
        rows = _rows(prints)
        if not len(rows):
            return
        keys = [next(self._next_key) for _ in rows]
        with self._lock:
            self._index.add(np.array(keys, np.uint64), rows)
            self._known[upload.video_id] = upload.uploaded_at, keys
            self._videos |= dict.fromkeys(keys, upload.video_id)

    def forget(self, video_id: str) -> None:
        """Know a video no more."""
        with self._lock:
            _, keys = self._known.pop(video_id, (0, []))
            for key in keys:
                self._index.remove(key)
                del self._videos[key]

    def earlier(self, upload: Upload, prints: bytes) -> tuple[str, ...]:
        """Return the videos uploaded before that share half of these fingerprints or more, most alike first, at most eight."""
        rows = _rows(prints)
        with self._lock:
            if not len(rows) or not self._videos:
                return ()
            shared: Counter[str] = Counter()
            for row in rows:
                near = self._index.search(row, NEIGHBOURS)
                assert isinstance(near, Matches), "one vector finds matches, several would find batches of them"
                pairs = zip(near.keys, near.distances, strict=True)
                shared.update({self._videos[int(key)] for key, distance in pairs if distance <= NEAR})
            before = {other for other in shared if self._known[other][0] < upload.uploaded_at}
        alike = [other for other, count in shared.most_common() if other in before and count >= ALIKE * len(rows)]
        return tuple(other for other in alike if other != upload.video_id)[:MOST_NAMED]

    def __len__(self) -> int:
        return len(self._known)


def _rows(prints: bytes) -> NDArray[np.uint8]:
    whole = len(prints) // BYTES * BYTES
    return np.frombuffer(prints[:whole], np.uint8).reshape(-1, BYTES)
