"""Only the files that the API stored are deleted with their video."""

from pathlib import Path

from headwater.stored_media import forget_media
from streams.events import Upload


def upload(media_uri: str | None) -> Upload:
    return Upload(event_id="e", video_id="v", author_id="a", title="t", uploaded_at=0, media_uri=media_uri)


def test_a_stored_file_is_deleted_and_counted_once(tmp_path: Path):
    clip = tmp_path / "a clip.mp4"
    clip.touch()
    assert forget_media(tmp_path, upload(clip.as_uri())) == 1
    assert not clip.exists()
    assert forget_media(tmp_path, upload(clip.as_uri())) == 0


def test_a_file_elsewhere_stays(tmp_path: Path):
    clip = tmp_path / "clip.mp4"
    clip.touch()
    stored = tmp_path / "media"
    assert forget_media(stored, upload(clip.as_uri())) == 0
    assert forget_media(stored, upload(f"{stored.as_uri()}/../clip.mp4")) == 0
    assert clip.exists()


def test_an_upload_without_a_file_of_ours_is_nothing_to_delete(tmp_path: Path):
    assert forget_media(tmp_path, upload(None)) == 0
    assert forget_media(tmp_path, upload("https://example.com/clip.mp4")) == 0
