"""Files that clients upload: kept in one folder by video and content, and only if they are videos."""

import asyncio
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from starlette.datastructures import UploadFile

from models.perception.media import probe
from models.settings import MediaSettings
from serving.errors import ApiError, ErrorBody
from serving.node import Node

# What players tell formats by; any other name says nothing and is not kept.
_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi"})
_INCOMING = "incoming-"
# No upload takes this long: an incoming file that old was left by a process that was killed.
_LEFT_AFTER_S = 3600.0


@dataclass(frozen=True)
class StoredMedia:
    """Where a file lies, and how long it plays. `new` is False where it lay there before, as part of an upload that stands."""

    path: Path
    duration_ms: int
    new: bool
    inode: int

    @property
    def uri(self) -> str:
        return self.path.as_uri()

    def discard(self) -> None:
        """Delete the file, of whose upload nothing became; one that a later try put in its place stays."""
        with suppress(FileNotFoundError):
            if self.new and self.path.stat().st_ino == self.inode:
                self.path.unlink()


async def store_media(node: Node, video_id: str, file: UploadFile) -> StoredMedia:
    """Return where `file` was stored.

    Raises:
        BadMedia: empty, too large, too long, or no video; nothing of it is kept.
        PerceptionUnavailable: no decoder could be started to look at it; nothing of it is kept.
        OSError: it can't be kept, as on a full disk; nothing of it is.
    """
    return await asyncio.get_running_loop().run_in_executor(
        node.files, _store, Path(node.api.media_dir), node.media, video_id, file.file, file.filename or ""
    )


def no_room(error: OSError) -> ApiError:
    """Return the 507 for a file that found the disk full; raises `error` where it is about something else."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise error
    message = "this node's disk is full: nothing of the file was kept; send it again later"
    return ApiError(507, ErrorBody("no-room", message), {"Retry-After": "60"})


def stored_files(folder: Path, video_id: str) -> list[Path]:
    """Return every file that was stored for a video, of all its uploads."""
    name = re.compile(re.escape(_file_name(video_id)) + r"-[0-9a-f]{16}\.\w+")
    return sorted(path for path in folder.glob("*") if name.fullmatch(path.name))


def forget_left(folder: Path) -> int:
    """Delete what killed processes left of uploads that never ended; return how many files went."""
    left = [path for path in folder.glob(f"{_INCOMING}*") if path.stat().st_mtime < time.time() - _LEFT_AFTER_S]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _store(folder: Path, media: MediaSettings, video_id: str, file: BinaryIO, filename: str) -> StoredMedia:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=_INCOMING, dir=folder)
    incoming = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as target:
            shutil.copyfileobj(file, target, 1 << 20)
        info = probe(incoming, media)
        with incoming.open("rb") as stored:
            content = hashlib.file_digest(stored, "sha256").hexdigest()
        suffix = Path(filename).suffix.lower()
        path = folder / f"{_file_name(video_id)}-{content[:16]}{suffix if suffix in _SUFFIXES else '.mp4'}"
        new, inode = not path.exists(), incoming.stat().st_ino
        incoming.replace(path)
    finally:
        incoming.unlink(missing_ok=True)
    return StoredMedia(path.resolve(), info.duration_ms, new, inode)


def _file_name(video_id: str) -> str:
    """Return the id where it is safe as a file's name, else its digest."""
    return video_id if re.fullmatch(r"[\w-]{1,64}", video_id, re.ASCII) else hashlib.sha256(video_id.encode()).hexdigest()[:32]
