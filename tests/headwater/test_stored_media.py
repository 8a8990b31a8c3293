"""Only the files that the API stored for a video are deleted with it, and all of them."""

from pathlib import Path

from headwater.stored_media import forget_media


def test_the_files_of_every_upload_of_a_video_are_deleted_and_counted_once(tmp_path: Path):
    for content in ("0123456789abcdef", "fedcba9876543210"):
        (tmp_path / f"v-{content}.mp4").touch()
    assert forget_media(tmp_path, "v") == 2
    assert list(tmp_path.iterdir()) == []
    assert forget_media(tmp_path, "v") == 0


def test_other_files_stay(tmp_path: Path):
    names = {"v-2-0123456789abcdef.mp4", "w-0123456789abcdef.mp4", "v.mp4", "clip.mp4"}
    for name in names:
        (tmp_path / name).touch()
    assert forget_media(tmp_path, "v") == 0
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path):
    assert forget_media(tmp_path / "none", "v") == 0
