"""The files that the API keeps of a video, its media and its stills: deleted when it is taken down."""

from pathlib import Path

from serving.media_store import stored_files
from serving.posters import forget_posters


def forget_files(media: Path, posters: Path, video_id: str) -> int:
    """Delete what the API stored of a video in these folders; return how many files went."""
    # The media first: a still that is just being made of it is then not kept.
    return forget_media(media, video_id) + forget_posters(posters, video_id)


def forget_media(folder: Path, video_id: str) -> int:
    """Delete every file that the API stored in `folder` for a video; return how many went.

    A file that an upload only named is not ours: it was read where its owner keeps it.
    """
    files = stored_files(folder, video_id)
    for path in files:
        path.unlink(missing_ok=True)
    return len(files)
