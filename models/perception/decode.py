"""The decoder's own process: probes one media file, picks frames spread over it or a still, within limits of memory and CPU.

Codecs are the one place where a stranger's bytes meet a million lines of C: here they can end only this process. It is run as a
file by `models.perception.media`, with one JSON argument (`Request`), and writes one line of JSON, then the frames' bytes.
"""

import ctypes
import itertools
import json
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import TypedDict

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

PR_SET_PDEATHSIG = 1
SIDE = 224
# The classifier was trained on the middle of images whose short side was scaled to this.
SHORT_SIDE = 256
# Containers of one file. Playlists (HLS, DASH, concat) are left out: they name other files and addresses to open.
FORMATS = "mov,matroska,avi,flv,mpegts,mpeg,ogg,asf,gif"
# Closer frames are reached sooner by decoding on than by seeking, which starts over at a key frame.
SEEK_S = 4.0
# Frames looked at for a still: more find a picture in a film that fades in slowly, and take longer for one that has none.
STILLS = 12
# Luma, of 255: darker on average is a fade or a leader, and less spread is a plain colour.
DARK, FLAT = 24.0, 10.0
# The encoder's quantizer, 2 to 31: 4 is a picture of 720 lines in 60 to 120 kB without visible blocks.
JPEG_QUANTIZER = 4


class Request(TypedDict):
    """What to do: `frames` 0 only probes; `window_ms` other than 0 looks only at the end, as of a live room.

    `still` other than 0 asks for one whole frame instead, as a JPEG whose short side has at most so many pixels.
    """

    path: str
    frames: int
    still: int
    window_ms: int
    max_duration_ms: int
    max_pixels: int
    memory_bytes: int
    cpu_s: int


class Refused(Exception):
    """The media is not what it must be; the message says what was expected and what came."""


def main() -> None:
    request: Request = json.loads(sys.argv[1])
    # Whoever asked may be killed: nobody would read the answer.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_AS, (request["memory_bytes"], request["memory_bytes"]))
    resource.setrlimit(resource.RLIMIT_CPU, (request["cpu_s"], request["cpu_s"]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    pictures: list[bytes] = []
    try:
        with av.open(
            request["path"],
            options={"protocol_whitelist": "file", "format_whitelist": FORMATS},
            metadata_errors="replace",
        ) as container:
            stream = video_stream(container)
            start_s, duration_s = span(container, stream, request)
            # What a damaged file shows before its damage is worth seeing.
            with suppress(av.error.InvalidDataError):
                if request["still"]:
                    pictures.append(jpeg(still(container, stream, start_s, duration_s), stream, request["still"]))
                for frame in spread(container, stream, start_s, duration_s, request["frames"]):
                    pictures.append(picture(frame).tobytes())
            if (request["frames"] or request["still"]) and not pictures:
                raise Refused("expected a video, got a file from which no frame can be decoded")
            answer: dict[str, object] = {
                "duration_ms": round(duration_s * 1000),
                "width": stream.codec_context.width,
                "height": stream.codec_context.height,
                "codec": stream.codec_context.name,
                "frames": len(pictures),
            }
    except Refused as refusal:
        answer = {"refused": str(refusal)}
    except MemoryError:
        answer = {"refused": f"expected to be decoded within {request['memory_bytes']} bytes of memory, needs more"}
    except (av.error.FFmpegError, ValueError) as error:
        answer = {"refused": f"expected a video, got a file that can't be read as one: {getattr(error, 'strerror', error)}"}
    out = sys.stdout.buffer
    out.write(json.dumps(answer).encode() + b"\n")
    for encoded in pictures:
        out.write(encoded)


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


def span(container: av.container.InputContainer, stream: av.VideoStream, request: Request) -> tuple[float, float]:
    """Return where the part to look at starts, in the file's own time, and the whole file's length, both in seconds."""
    pixels = stream.codec_context.width * stream.codec_context.height
    if not 0 < pixels <= request["max_pixels"]:
        raise Refused(f"expected 1 to {request['max_pixels']} pixels a frame (media.max_pixels), got {pixels}")
    origin_s = (container.start_time or 0) / av.time_base
    duration_s = container.duration / av.time_base if container.duration else last_packet_s(container, stream) - origin_s
    if request["window_ms"]:
        return origin_s + max(0.0, duration_s - request["window_ms"] / 1000), duration_s
    if duration_s * 1000 > request["max_duration_ms"]:
        raise Refused(
            f"expected at most {request['max_duration_ms']} ms (media.max_duration_ms), got {round(duration_s * 1000)} ms"
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


def picture(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return the frame's middle as RGB bytes, uint8 (224, 224, 3), upright."""
    scale = SHORT_SIDE / min(frame.width, frame.height)
    width, height = round(frame.width * scale), round(frame.height * scale)
    pixels = frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    upright = np.rot90(pixels[top : top + SIDE, left : left + SIDE], round(frame.rotation / 90))
    return np.ascontiguousarray(upright)


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


def jpeg(frame: av.VideoFrame, stream: av.VideoStream, short_side: int) -> bytes:
    """Return the whole frame as a JPEG, upright, its pixels square and its short side at most `short_side`."""
    wide = frame.width * float(stream.sample_aspect_ratio or 1)
    scale = min(1.0, short_side / min(wide, frame.height))
    width, height = max(1, round(wide * scale)), max(1, round(frame.height * scale))
    pixels = frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
    upright: NDArray[np.uint8] = np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)), np.uint8)
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width = upright.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 1)
    # FF_QP2LAMBDA: quantizers are given to this encoder times 118.
    encoder.options = {"flags": "+qscale", "global_quality": str(JPEG_QUANTIZER * 118)}
    whole = av.VideoFrame.from_ndarray(upright, "rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in (*encoder.encode(whole), *encoder.encode(None)))


if __name__ == "__main__":
    main()
