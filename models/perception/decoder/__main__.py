"""The program: limits of memory and CPU first, then one file, then the answer."""

import ctypes
import json
import resource
import signal
import sys
import time
from contextlib import suppress
from typing import TypedDict

import av

from models.perception.decoder.pictures import jpeg
from models.perception.decoder.sampling import sampled
from models.perception.decoder.sound import sound
from models.perception.decoder.still import still
from models.perception.decoder.video import Bounds, Refused, opened, span, video_stream

PR_SET_PDEATHSIG = 1


class Request(TypedDict):
    """What to do: `frames` 0 only probes; `window_ms` other than 0 looks only at the end, as of a live room.

    `still` other than 0 asks for one whole frame instead, as a JPEG whose short side has at most so many pixels. Of the sound
    beside frames come at most `listened_s` seconds.
    """

    path: str
    frames: int
    still: int
    listened_s: float
    window_ms: int
    bounds: Bounds
    memory_bytes: int
    cpu_s: int


def main() -> None:
    request: Request = json.loads(sys.argv[1])
    # Whoever asked may be killed: nobody would read the answer.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_AS, (request["memory_bytes"], request["memory_bytes"]))
    resource.setrlimit(resource.RLIMIT_CPU, (request["cpu_s"], request["cpu_s"]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        answer, parts = decode(request)
    except Refused as refusal:
        answer, parts = {"refused": str(refusal)}, []
    except MemoryError:
        answer = {"refused": f"expected to be decoded within {request['memory_bytes']} bytes of memory, needs more"}
        parts = []
    except (av.error.FFmpegError, ValueError) as error:
        answer = {"refused": f"expected a video, got a file that can't be read as one: {getattr(error, 'strerror', error)}"}
        parts = []
    out = sys.stdout.buffer
    out.write(json.dumps(answer).encode() + b"\n")
    for part in parts:
        out.write(part)


def peak_mb() -> float:
    """Return the most memory this process has had; getrusage would count that of the process it was forked from."""
    with open("/proc/self/status", encoding="ascii") as status:
        peak = next((line.split()[1] for line in status if line.startswith("VmHWM:")), "0")
    return round(int(peak) / 1024, 1)


def decode(request: Request) -> tuple[dict[str, object], list[bytes]]:
    """Return what the file says of its video, with what was measured, and what was asked for: pictures, then sound."""
    parts: list[bytes] = []
    with opened(request["path"]) as container:
        stream = video_stream(container)
        start_s, duration_s = span(container, stream, request["bounds"], window_ms=request["window_ms"])
        answer: dict[str, object] = {
            "duration_ms": round(duration_s * 1000),
            "width": stream.codec_context.width,
            "height": stream.codec_context.height,
            "codec": stream.codec_context.name,
            "has_audio": bool(container.streams.audio),
        }
        # What a damaged file shows before its damage is worth seeing.
        with suppress(av.error.InvalidDataError):
            if request["still"]:
                parts.append(jpeg(still(container, stream, start_s, duration_s), stream, request["still"]))
        if request["frames"]:
            sample = sampled(container, stream, start_s, duration_s, request["frames"])
            answer |= {"at_ms": sample.at_ms, "cuts": sample.cuts, "motion": sample.motion, "brightness": sample.brightness}
            parts += [middle.tobytes() for middle in sample.middles]
            parts += [whole.tobytes() for whole in sample.wholes]
        if (request["frames"] or request["still"]) and not parts:
            raise Refused("expected a video, got a file from which no frame can be decoded")
        if request["frames"]:
            # Frames are at hand: what is left of the time is not all for the sound, or the limit would take both.
            until_cpu_s = (time.process_time() + request["cpu_s"]) / 2
            parts.append(sound(container, start_s, duration_s, request["listened_s"], until_cpu_s=until_cpu_s))
        answer["peak_mb"] = peak_mb()
    return answer, parts


if __name__ == "__main__":
    main()
