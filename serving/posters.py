"""Stills of uploaded videos: made when first asked for, by the decoder's own process, and kept beside the media."""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path

from models.perception.media import poster
from models.settings import MediaSettings
from serving.errors import ApiError, ErrorBody, not_found
from serving.local_media import local_media
from serving.recent import Recent
from serving.settings import ApiSettings
from streams.events import Upload
from streams.ports import BadMedia, PerceptionUnavailable

# Each is a process that decodes: more would take from the feed what a still gains.
_AT_ONCE = 2
# Videos without a still are remembered, so that each is decoded in vain once.
_REFUSED = 10_000


def poster_path(folder: Path, video: Upload) -> Path:
    """Return where the still of a video's present media is kept."""
    media = hashlib.sha256((video.media_uri or "").encode()).hexdigest()[:16]
    return _of_video(folder, video.video_id) / f"{media}.jpg"


def forget_posters(folder: Path, video_id: str) -> int:
    """Delete the stills of a video, of whatever media; return how many went."""
    own = _of_video(folder, video_id)
    count = len(list(own.glob("*.jpg")))
    shutil.rmtree(own, ignore_errors=True)
    return count


def forget_old_posters(folder: Path, *, before: float) -> int:
    """Delete the stills made before a time (Unix seconds), of videos that no feed shows any more; return how many went.

    One that is asked for yet is made again.
    """
    gone = 0
    for path in folder.glob("*/*"):
        # A takedown may be quicker.
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()
                gone += 1
    return gone


def _of_video(folder: Path, video_id: str) -> Path:
    return folder / hashlib.sha256(video_id.encode()).hexdigest()[:32]


class Posters:
    """The stills of one node."""

    def __init__(self, api: ApiSettings, media: MediaSettings, is_gone: Callable[[str], bool], threads: Executor) -> None:
        self._is_gone = is_gone
        self._threads = threads
        self._folder = Path(api.posters_dir)
        self._media = media
        self._wait_s = api.poster_wait_s
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._making: dict[Path, asyncio.Task[None]] = {}
        self._refused: Recent[str] = Recent(_REFUSED)

    async def of(self, video: Upload) -> Path:
        """Return the still's file, made now if it has to be.

        Raises:
            ApiError: 404 where the media is not here or shows nothing, 503 where it takes too long or the disk is full.
        """
        path = poster_path(self._folder, video)
        if path.is_file():
            return path
        if (reason := self._refused.get(str(path))) is not None:
            raise not_found(reason)
        making = self._making.get(path)
        if making is None:
            making = self._making[path] = asyncio.create_task(self._make(video, path))
            making.add_done_callback(lambda _: self._making.pop(path, None))
        try:
            # Shielded: a client that goes takes nothing from others who wait, nor from the next who asks.
            await asyncio.wait_for(asyncio.shield(making), self._wait_s)
        except TimeoutError as error:
            message = f"the still of video {video.video_id} is not made yet: come again (api.poster_wait_s)"
            raise ApiError(503, ErrorBody("busy", message), {"Retry-After": "2"}) from error
        except PerceptionUnavailable as error:
            raise ApiError(503, ErrorBody("busy", str(error)), {"Retry-After": "2"}) from error
        except BadMedia as bad:
            raise not_found(str(bad)) from bad
        except OSError as error:
            message = f"the still of video {video.video_id} can't be kept: {error.strerror}"
            raise ApiError(503, ErrorBody("busy", message), {"Retry-After": "60"}) from error
        return path

    async def _make(self, video: Upload, path: Path) -> None:
        media = local_media(video.media_uri, self._media)
        if media is None:
            raise BadMedia(f"video {video.video_id} has no media here")
        async with self._free:
            try:
                await asyncio.get_running_loop().run_in_executor(self._threads, self._write, media, path)
                if not media.is_file() or self._is_gone(video.video_id):
                    # Taken down meanwhile: who let go of its files looked for the still before it was there.
                    forget_posters(self._folder, video.video_id)
                    raise FileNotFoundError(media)
            except BadMedia as bad:
                self._refused.put(str(path), f"video {video.video_id} has no still: {bad}")
                raise
            except FileNotFoundError as error:
                raise BadMedia(f"video {video.video_id} has no media here any more") from error

    def _write(self, media: Path, path: Path) -> None:
        picture = poster(media, self._media)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix="incoming-", dir=path.parent)
        incoming = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as target:
                target.write(picture)
            incoming.replace(path)
        finally:
            incoming.unlink(missing_ok=True)
