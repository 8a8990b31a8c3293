"""The frame that stands for a video before it plays: the first one that shows something."""

import itertools
from collections.abc import Iterator
from contextlib import suppress

import av

from models.perception.decoder.video import Refused, spread

# Frames looked at for a still: more find a picture in a film that fades in slowly, and take longer for one that has none.
STILLS = 12
# Luma, of 255: darker on average is a fade or a leader, and less spread is a plain colour.
DARK, FLAT = 24.0, 10.0


def still(container: av.container.InputContainer, stream: av.VideoStream, start_s: float, duration_s: float) -> av.VideoFrame:
    """Return the first frame, or the first of some spread over the file, that shows something; else the least plain one."""
    best: tuple[float, av.VideoFrame] | None = None
    for frame in stills(container, stream, start_s, duration_s):
        luma = frame.reformat(64, 64, "gray").to_ndarray()
        if luma.mean() > DARK and luma.std() > FLAT:
            return frame
        if best is None or luma.std() > best[0]:
            best = float(luma.std()), frame
    if best is None:
        raise Refused("expected a video, got a file from which no frame can be decoded")
    return best[1]


def stills(
    container: av.container.InputContainer, stream: av.VideoStream, start_s: float, duration_s: float
) -> Iterator[av.VideoFrame]:
    """Yield the very first frame, which a player shows first too, then some spread over the file."""
    with suppress(av.error.InvalidDataError):
        yield from itertools.islice(container.decode(stream), 1)
    container.seek(0)
    yield from spread(container, stream, start_s, duration_s, STILLS)
