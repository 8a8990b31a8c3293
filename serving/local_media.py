"""The media that lie on this machine: where, and as what players are to take them."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from models.perception.media import check_uri
from models.settings import MediaSettings
from streams.ports import BadMedia

_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
}


def local_media(uri: str | None, media: MediaSettings) -> Path | None:
    """Return the file that `uri` names, None where it may not be read or is not on this machine."""
    try:
        check_uri(uri or "", media)
    except BadMedia:
        return None
    parts = urlsplit(uri or "")
    path = Path(unquote(parts.path))
    return path if parts.scheme == "file" and path.is_file() else None


def media_type(path: Path) -> str:
    """Return what a player is told that the file is; the machine's own table may lack any of these."""
    return _TYPES.get(path.suffix.lower(), "application/octet-stream")
