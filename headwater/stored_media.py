"""The media files that the API stored: deleted when their video is taken down."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from streams.events import Upload


def forget_media(folder: Path, upload: Upload) -> int:
    """Delete the file that `upload` names if the API stored it in `folder`; return how many files went.

    A file elsewhere is not ours: it was read where its owner keeps it.
    """
    parts = urlsplit(upload.media_uri or "")
    if parts.scheme != "file":
        return 0
    path = Path(unquote(parts.path)).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        return 0
    path.unlink()
    return 1
