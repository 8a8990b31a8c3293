"""Files that clients upload: kept in one folder by video and content, and only if they are videos."""

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from starlette.datastructures import UploadFile

from models.perception.media import probe
from models.settings import MediaSettings
from serving.node import Node

# What players tell formats by; any other name says nothing and is not kept.
_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi"})


@dataclass(frozen=True)
class StoredMedia:
    uri: str
    duration_ms: int


async def store_media(node: Node, video_id: str, file: UploadFile) -> StoredMedia:
    """Return where `file` was stored.

    Raises:
        BadMedia: empty, too large, too long, or no video; nothing of it is kept.
    """
    return await asyncio.to_thread(_store, Path(node.api.media_dir), node.media, video_id, file.file, file.filename or "")


def _store(folder: Path, media: MediaSettings, video_id: str, file: BinaryIO, filename: str) -> StoredMedia:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix="incoming-", dir=folder)
    incoming = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as target:
            shutil.copyfileobj(file, target, 1 << 20)
        info = probe(incoming, media)
        with incoming.open("rb") as stored:
            content = hashlib.file_digest(stored, "sha256").hexdigest()
        suffix = Path(filename).suffix.lower()
        path = folder / f"{_file_name(video_id)}-{content[:16]}{suffix if suffix in _SUFFIXES else '.mp4'}"
        incoming.replace(path)
    finally:
        incoming.unlink(missing_ok=True)
    return StoredMedia(path.resolve().as_uri(), info.duration_ms)


def _file_name(video_id: str) -> str:
    """Return the id where it is safe as a file's name, else its digest."""
    return video_id if re.fullmatch(r"[\w-]{1,64}", video_id, re.ASCII) else hashlib.sha256(video_id.encode()).hexdigest()[:32]
