"""Media by its address: what may be read, where it lies, what it is, and frames of it.

The one way from a stranger's `media_uri` to pixels. Whatever is wrong with it is `BadMedia`, which says what was expected.
"""

import ipaddress
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from models.perception.fetch import Resolve, fetch, is_public, resolve
from models.settings import MediaSettings
from streams.ports import BadMedia, PerceptionUnavailable

# A decoder's CPU time is bounded. By the clock it may take this many times as long: on a machine that is busy with others, a
# good file would be refused for good.
BY_THE_CLOCK = 4
_DECODER = "models.perception.decoder"
_MIDDLE_SIDE, _WHOLE_SIDE = 260, 640
# A phone shows a video at about 400 by 800 points: more is not seen, and loads slower than the video begins.
POSTER_SIDE = 720


@dataclass(frozen=True)
class MediaInfo:
    """What a file says of its video."""

    duration_ms: int
    width: int
    height: int
    codec: str
    has_audio: bool


@dataclass(frozen=True)
class Sample:
    """What is perceived of one file: n frames, the middles of its scenes, in order, at most `settings.frames`; and some sound.

    `at_ms` is when they are shown; `middles` are RGB uint8 (n, 260, 260, 3), `wholes` (n, 640, 640, 3) on grey. `cuts` is how
    many ends of scenes were seen, `motion` how much changes within them and `brightness` how light they are, both 0 to 1;
    `sound` is of one channel, 16,000 samples a second, (m,), empty where there is none; `decoder_mb` is the most memory that
    decoding took.
    """

    info: MediaInfo
    at_ms: tuple[int, ...]
    middles: NDArray[np.uint8]
    wholes: NDArray[np.uint8]
    cuts: int
    motion: float
    brightness: float
    sound: NDArray[np.int16]
    decoder_mb: float


def check_uri(uri: str, settings: MediaSettings) -> None:
    """Raise BadMedia unless `uri` may be read: its scheme, its host if that is an address, its folder if it is a file.

    Names are not resolved here, so this never waits; what they resolve to is checked when they are fetched.
    """
    parts = _split(uri, settings)
    if parts.scheme == "file":
        _file(parts, uri, settings)
        return
    host = parts.hostname or ""
    if not host:
        raise BadMedia(f"media_uri '{uri}': expected a host, got none")
    if host not in settings.private_hosts and not _looks_public(host):
        raise BadMedia(
            f"media_uri '{uri}': expected a public host, got '{host}'; allow it by media.private_hosts if it is yours"
        )


@contextmanager
def local_copy(uri: str, settings: MediaSettings, *, resolve: Resolve = resolve) -> Iterator[Path]:
    """Give the media at `uri` as a file: itself, or fetched and gone afterwards.

    Raises:
        BadMedia: it can't be had, now or later.
        PerceptionUnavailable: it can't be had now.
    """
    check_uri(uri, settings)
    parts = _split(uri, settings)
    if parts.scheme == "file":
        path = _file(parts, uri, settings)
        if not path.is_file():
            raise BadMedia(f"media_uri '{uri}': expected a file, got nothing of that name")
        yield path
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="headwater-media-", ignore_cleanup_errors=True)
    except OSError as error:
        raise PerceptionUnavailable(f"{uri} can't be kept here now: {error}") from error
    with folder:
        path = Path(folder.name) / "media"
        fetch(uri, settings, path, resolve=resolve)
        yield path


def probe(path: Path, settings: MediaSettings) -> MediaInfo:
    """Return what `path` says of its video; takes a few tenths of a second. Raises BadMedia."""
    return _info(_decode(path, settings)[0])


def poster(path: Path, settings: MediaSettings) -> bytes:
    """Return the first frame that shows something, whole and upright, as a JPEG of at most 720 pixels on its short side.

    Raises:
        BadMedia: as `sample`.
    """
    return _decode(path, settings, still=POSTER_SIDE)[1]


def sample(path: Path, settings: MediaSettings, *, live: bool = False) -> Sample:
    """Return frames of each scene of the file, of longer ones more, and sound; of `live` media those of its end.

    Raises:
        BadMedia: empty, too large, too long, no video, or more than the decoder's memory and time.
    """
    answer, decoded = _decode(path, settings, frames=settings.frames, window_ms=settings.live_window_ms if live else 0)
    count = len(answer["at_ms"])
    middles, wholes = count * _MIDDLE_SIDE**2 * 3, count * _WHOLE_SIDE**2 * 3
    if len(decoded) < middles + wholes:
        raise BadMedia(f"expected {middles + wholes} bytes of {count} frames, got {len(decoded)} before its decoder ended")
    return Sample(
        info=_info(answer),
        at_ms=tuple(answer["at_ms"]),
        middles=np.frombuffer(decoded, np.uint8, middles).reshape(-1, _MIDDLE_SIDE, _MIDDLE_SIDE, 3),
        wholes=np.frombuffer(decoded, np.uint8, wholes, middles).reshape(-1, _WHOLE_SIDE, _WHOLE_SIDE, 3),
        cuts=answer["cuts"],
        motion=min(1.0, answer["motion"]),
        brightness=answer["brightness"],
        sound=np.frombuffer(decoded[middles + wholes :], np.int16),
        decoder_mb=answer["peak_mb"],
    )


def _info(answer: dict[str, Any]) -> MediaInfo:
    return MediaInfo(answer["duration_ms"], answer["width"], answer["height"], answer["codec"], answer["has_audio"])


def _split(uri: str, settings: MediaSettings) -> SplitResult:
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise BadMedia(f"media_uri '{uri}': expected an address, got {error}") from error
    if parts.scheme not in settings.allowed_schemes or parts.scheme not in ("file", "http", "https"):
        allowed = ", ".join(settings.allowed_schemes)
        raise BadMedia(f"media_uri '{uri}' has scheme '{parts.scheme}'; allowed: {allowed} (media.allowed_schemes)")
    return parts


def _file(parts: SplitResult, uri: str, settings: MediaSettings) -> Path:
    """Return the file that a file: URI names, links followed."""
    if parts.netloc not in ("", "localhost"):
        raise BadMedia(f"media_uri '{uri}': expected file:///absolute/path, got a file on the host '{parts.netloc}'")
    try:
        path = Path(unquote(parts.path)).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise BadMedia(f"media_uri '{uri}': expected a path, got {error}") from error
    roots = [root.resolve() for root in settings.roots]
    if not any(path.is_relative_to(root) for root in roots):
        raise BadMedia(f"media_uri '{uri}': expected a file below {', '.join(map(str, roots))} (media.roots), got {path}")
    return path


def _looks_public(host: str) -> bool:
    """Return whether `host` is a public address or a name that can be one; '2130706433' and '127.1' are addresses too."""
    try:
        return is_public(str(ipaddress.ip_address(host)))
    except ValueError:
        pass
    try:
        return is_public(socket.inet_ntoa(socket.inet_aton(host)))
    except (OSError, ValueError):
        name = host.rstrip(".")
        return "." in name and not name.endswith((".localhost", ".local", ".internal"))


def _decode(
    path: Path, settings: MediaSettings, *, frames: int = 0, still: int = 0, window_ms: int = 0
) -> tuple[dict[str, Any], bytes]:
    """Return what the decoder says of the file, and what was asked for, as it wrote it."""
    size = path.stat().st_size
    if not 0 < size <= settings.max_bytes:
        raise BadMedia(f"expected a video of 1 to {settings.max_bytes} bytes (media.max_bytes), got {size}")
    request = {
        "path": str(path.resolve()),
        "frames": frames,
        "still": still,
        "listened_s": settings.listened_s,
        "window_ms": window_ms,
        "bounds": {"max_duration_ms": settings.max_duration_ms, "max_pixels": settings.max_pixels},
        "memory_bytes": settings.decode_memory_bytes,
        # Seconds of CPU, of all its threads: the wall's deadline alone would let a bomb have every core.
        "cpu_s": math.ceil(settings.decode_timeout_s),
    }
    try:
        run = subprocess.run(
            [sys.executable, "-I", "-m", _DECODER, json.dumps(request)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=BY_THE_CLOCK * settings.decode_timeout_s,
            # Nothing of ours to read in the environment; arenas and BLAS threads would count against its address space.
            env={"PATH": os.defpath, "MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise BadMedia(
            f"expected to be decoded in {settings.decode_timeout_s} s of CPU (media.decode_timeout_s) and "
            f"{BY_THE_CLOCK} times as long by the clock, takes longer"
        ) from error
    except OSError as error:
        # No memory or process left on this machine, which says nothing of the file.
        raise PerceptionUnavailable(f"no decoder can be started now: {error}") from error
    if run.returncode < 0:
        raise BadMedia(f"expected a video, got a file that ended its decoder by {signal.Signals(-run.returncode).name}")
    head, _, decoded = run.stdout.partition(b"\n")
    if run.returncode or not head:
        raise BadMedia(f"expected a video, got a file that its decoder failed on: {run.stderr.decode(errors='replace')[-300:]}")
    answer: dict[str, Any] = json.loads(head)
    if "refused" in answer:
        raise BadMedia(answer["refused"])
    return answer, decoded
