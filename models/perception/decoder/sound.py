"""What is to be heard in a file: parts of its sound, spread over it, as the sound tagger wants it."""

import time
from collections.abc import Iterator
from contextlib import suppress

import av

# Samples a second, of one channel: what the tagger was trained on.
RATE = 16_000
# A part is long enough to tell a song from a chime; of a clip that is no longer than all parts together, all is heard.
PART_S = 4.0


def sound(
    container: av.container.InputContainer, start_s: float, duration_s: float, longest_s: float, *, until_cpu_s: float
) -> bytes:
    """Return at most `longest_s` seconds of the first sound stream from `start_s` on, 16-bit, without what can't be decoded.

    A sound that is damaged, or takes more than `until_cpu_s` of the process' CPU time, is no reason to refuse a video.
    """
    if not container.streams.audio or not longest_s:
        return b""
    pieces: list[bytes] = []
    wanted = int(longest_s * RATE)
    origin_s = (container.start_time or 0) / av.time_base
    for from_s, until_s in parts(start_s, origin_s + duration_s, longest_s):
        with suppress(av.error.FFmpegError, ValueError, ArithmeticError, MemoryError):
            for piece in _decoded(container, from_s, until_s, until_cpu_s):
                pieces.append(piece)
                wanted -= len(piece) // 2
                if wanted <= 0:
                    break
        if wanted <= 0:
            break
    return b"".join(pieces)[: 2 * int(longest_s * RATE)]


def parts(start_s: float, end_s: float, longest_s: float) -> list[tuple[float, float]]:
    """Return where to listen: all of what is no longer than `longest_s`, else the middles of equal parts."""
    if end_s - start_s <= longest_s:
        return [(start_s, end_s)]
    count = max(1, round(longest_s / PART_S))
    step_s, half_s = (end_s - start_s) / count, longest_s / count / 2
    middles = [start_s + (part + 0.5) * step_s for part in range(count)]
    return [(middle - half_s, middle + half_s) for middle in middles]


def _decoded(container: av.container.InputContainer, from_s: float, until_s: float, until_cpu_s: float) -> Iterator[bytes]:
    stream = container.streams.audio[0]
    container.seek(int(from_s * av.time_base))
    resampler = av.AudioResampler("s16", "mono", RATE)
    for frame in container.decode(stream):
        if (frame.time is not None and frame.time >= until_s) or time.process_time() > until_cpu_s:
            return
        # Seeking ends at a key frame of the video, which may be seconds early.
        if frame.time is None or frame.time + frame.samples / frame.sample_rate > from_s:
            for resampled in resampler.resample(frame):
                yield resampled.to_ndarray().tobytes()
