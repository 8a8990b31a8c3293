"""One media file, opened: which of its streams is the video, how long it is, and its frames, spread over a part of it."""

from collections.abc import Iterator
from typing import TypedDict

import av
from av.stream import Disposition

# Containers of one file. Playlists (HLS, DASH, concat) are left out: they name other files and addresses to open.
FORMATS = "mov,matroska,avi,flv,mpegts,mpeg,ogg,asf,gif"
# Closer frames are reached sooner by decoding on than by seeking, which starts over at a key frame.
SEEK_S = 4.0


class Bounds(TypedDict):
    """What a file may be at most."""

    max_duration_ms: int
    max_pixels: int


class Refused(Exception):
    """The media is not what it must be; the message says what was expected and what came."""


def opened(path: str) -> av.container.InputContainer:
    """Open a file that may be anything, and nothing besides it."""
    return av.open(
        path,
        options={"protocol_whitelist": "file", "format_whitelist": FORMATS},
        metadata_errors="replace",
    )


def video_stream(container: av.container.InputContainer) -> av.VideoStream:
    """Return the stream with moving pictures; a song's cover isn't one."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            stream.thread_type = "AUTO"
            # Frames that no other needs are skipped unseen: half the work in most files.
            stream.codec_context.skip_frame = "NONREF"
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams}))
    raise Refused(f"expected a video stream, got {kinds or 'none'}")


def span(
    container: av.container.InputContainer, stream: av.VideoStream, bounds: Bounds, *, window_ms: int = 0
) -> tuple[float, float]:
    """Return where the part to look at starts, in the file's own time, and the whole file's length, both in seconds."""
    pixels = stream.codec_context.width * stream.codec_context.height
    if not 0 < pixels <= bounds["max_pixels"]:
        raise Refused(f"expected 1 to {bounds['max_pixels']} pixels a frame (media.max_pixels), got {pixels}")
    origin_s = (container.start_time or 0) / av.time_base
    duration_s = container.duration / av.time_base if container.duration else last_packet_s(container, stream) - origin_s
    if window_ms:
        return origin_s + max(0.0, duration_s - window_ms / 1000), duration_s
    if duration_s * 1000 > bounds["max_duration_ms"]:
        raise Refused(
            f"expected at most {bounds['max_duration_ms']} ms (media.max_duration_ms), got {round(duration_s * 1000)} ms"
        )
    return origin_s, duration_s


def last_packet_s(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Return when the last packet is shown: browsers record files that don't say how long they are."""
    ends = (float((packet.pts + (packet.duration or 0)) * packet.time_base) for packet in container.demux(stream) if packet.pts)
    last = max(ends, default=0.0)
    container.seek(0)
    return last


def spread(
    container: av.container.InputContainer, stream: av.VideoStream, start_s: float, duration_s: float, count: int
) -> Iterator[av.VideoFrame]:
    """Yield up to `count` frames from the middles of equal parts of the file from `start_s` to its end."""
    origin_s = (container.start_time or 0) / av.time_base
    step_s = (origin_s + duration_s - start_s) / max(count, 1)
    decoded, at_s = container.decode(stream), origin_s
    unseen: av.VideoFrame | None = None
    for part in range(count):
        target_s = start_s + (part + 0.5) * step_s
        if target_s - at_s > SEEK_S:
            container.seek(int(target_s * av.time_base))
            decoded = container.decode(stream)
            # A key frame of the same part will do: decoding on from it to the very middle shows nothing else.
            target_s -= step_s / 2
        for frame in decoded:
            unseen = frame
            if frame.time is None or frame.time >= target_s:
                unseen, at_s = None, frame.time or target_s
                yield frame
                break
    if unseen is not None:
        # A clip of few frames, or of one: its last began before the middle of the last part.
        yield unseen
