"""The newest part of a live room: the last segment of its HLS playlist (RFC 8216), or the file it is being recorded to.

Playlists are read here and not by the decoder, so that every address in them is checked as the room's own was.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from models.perception.fetch import Resolve, resolve
from models.perception.media import local_copy
from models.settings import MediaSettings
from streams.ports import BadMedia

_MARK = b"#EXTM3U"
# A master playlist names media playlists, and those name segments; deeper is no HLS.
_DEPTH = 2
_URI = re.compile(r'URI="([^"]+)"')


@dataclass(frozen=True)
class Playlist:
    """The addresses in a playlist, made absolute: other playlists, the author's first choice first, or segments, oldest first.

    `head` is what every segment needs before it (fragmented MP4), None where they stand alone (MPEG-TS).
    """

    variants: tuple[str, ...]
    segments: tuple[str, ...]
    head: str | None


@contextmanager
def newest_part(uri: str, settings: MediaSettings, *, resolve: Resolve = resolve) -> Iterator[Path]:
    """Give what is newest of the live room at `uri` as a file, gone afterwards if it was fetched. Raises BadMedia."""
    for _ in range(_DEPTH):
        with local_copy(uri, settings, resolve=resolve) as path:
            playlist = _read(path, uri)
            if playlist is None:
                yield path
                return
        if playlist.segments:
            break
        if not playlist.variants:
            raise BadMedia(f"{uri}: expected a playlist with segments, got an empty one")
        uri = playlist.variants[0]
    else:
        raise BadMedia(f"{uri}: expected a playlist with segments, got one of playlists in one of playlists")
    heads = () if playlist.head is None else (playlist.head,)
    with tempfile.TemporaryDirectory(prefix="headwater-live-") as folder:
        joined = Path(folder) / "media"
        with joined.open("wb") as file:
            for part in (*heads, playlist.segments[-1]):
                with local_copy(part, settings, resolve=resolve) as path, path.open("rb") as segment:
                    shutil.copyfileobj(segment, file)
        yield joined


def parse(text: str, uri: str) -> Playlist:
    """Return the addresses in the HLS playlist `text`, which came from `uri`. Raises BadMedia where segments can't be read."""
    variants: list[str] = []
    segments: list[str] = []
    head: str | None = None
    names_playlist = False
    for line in filter(None, map(str.strip, text.splitlines())):
        encrypted = line.startswith("#EXT-X-KEY") and "METHOD=NONE" not in line
        if encrypted or line.startswith("#EXT-X-BYTERANGE"):
            raise BadMedia(f"{uri}: expected whole segments in the clear, got {line.split(':')[0]}")
        if line.startswith("#EXT-X-MAP") and (found := _URI.search(line)):
            head = urljoin(uri, found[1])
        if not line.startswith("#"):
            (variants if names_playlist else segments).append(urljoin(uri, line))
        names_playlist = line.startswith("#EXT-X-STREAM-INF")
    return Playlist(tuple(variants), tuple(segments), head)


def _read(path: Path, uri: str) -> Playlist | None:
    with path.open("rb") as file:
        if file.read(len(_MARK)) != _MARK:
            return None
        # A live playlist names minutes, not days: a few kilobytes.
        return parse(file.read(1_000_000).decode("utf-8", "replace"), uri)
