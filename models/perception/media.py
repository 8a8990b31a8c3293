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
from urllib.parse import SplitResult, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from models.perception.fetch import Resolve, fetch, is_public, resolve
from models.settings import MediaSettings
from streams.ports import BadMedia, PerceptionUnavailable

_DECODER = Path(__file__).with_name("decode.py")
_SIDE = 224
# A phone shows a video at about 400 by 800 points: more is not seen, and loads slower than the video begins.
POSTER_SIDE = 720


@dataclass(frozen=True)
class MediaInfo:
    """What a file says of its video."""

    duration_ms: int
    width: int
    height: int
    codec: str


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
    return _decode(path, settings)[0]


def poster(path: Path, settings: MediaSettings) -> bytes:
    """Return the first frame that shows something, whole and upright, as a JPEG of at most 720 pixels on its short side.

    Raises:
        BadMedia: as `sample`.
    """
    return _decode(path, settings, still=POSTER_SIDE)[1]


def sample(path: Path, settings: MediaSettings, *, live: bool = False) -> tuple[MediaInfo, NDArray[np.uint8]]:
    """Return at most `settings.frames` frames, RGB uint8 (n, 224, 224, 3), spread over the file; of `live` media over its end.

    Raises:
        BadMedia: empty, too large, too long, no video, or more than the decoder's memory and time.
    """
    info, pixels = _decode(path, settings, frames=settings.frames, window_ms=settings.live_window_ms if live else 0)
    return info, np.frombuffer(pixels, np.uint8).reshape(-1, _SIDE, _SIDE, 3)


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
) -> tuple[MediaInfo, bytes]:
    """Return what the file says of its video, and the pictures asked for as the decoder wrote them."""
    size = path.stat().st_size
    if not 0 < size <= settings.max_bytes:
        raise BadMedia(f"expected a video of 1 to {settings.max_bytes} bytes (media.max_bytes), got {size}")
    request = {
        "path": str(path.resolve()),
        "frames": frames,
        "still": still,
        "window_ms": window_ms,
        "max_duration_ms": settings.max_duration_ms,
        "max_pixels": settings.max_pixels,
        "memory_bytes": settings.decode_memory_bytes,
        # Seconds of CPU, of all its threads: the wall's deadline alone would let a bomb have every core.
        "cpu_s": math.ceil(settings.decode_timeout_s),
    }
    try:
        run = subprocess.run(
            [sys.executable, "-I", str(_DECODER), json.dumps(request)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=settings.decode_timeout_s,
            # Nothing of ours to read in the environment; arenas and BLAS threads would count against its address space.
            env={"PATH": os.defpath, "MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise BadMedia(
            f"expected to be decoded in {settings.decode_timeout_s} s (media.decode_timeout_s), takes longer"
        ) from error
    except OSError as error:
        # No memory or process left on this machine, which says nothing of the file.
        raise PerceptionUnavailable(f"no decoder can be started now: {error}") from error
    if run.returncode < 0:
        raise BadMedia(f"expected a video, got a file that ended its decoder by {signal.Signals(-run.returncode).name}")
    head, _, pictures = run.stdout.partition(b"\n")
    if run.returncode or not head:
        raise BadMedia(f"expected a video, got a file that its decoder failed on: {run.stderr.decode(errors='replace')[-300:]}")
    answer = json.loads(head)
    if "refused" in answer:
        raise BadMedia(answer["refused"])
    return MediaInfo(answer["duration_ms"], answer["width"], answer["height"], answer["codec"]), pictures
