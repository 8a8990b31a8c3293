from collections.abc import Callable
from pathlib import Path

import pytest

from models.perception.live import newest_part, parse
from models.perception.media import sample
from models.settings import MediaSettings
from streams.ports import BadMedia

MakeClip = Callable[..., Path]


def room(folder: Path, *segments: str, head: str = "") -> str:
    """Write a room's playlist and return its address."""
    lines = "\n".join(f"#EXTINF:4,\n{segment}" for segment in segments)
    (folder / "room.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n{head}\n{lines}\n")
    return (folder / "room.m3u8").as_uri()


def test_a_room_is_seen_by_its_newest_segment(make_clip: MakeClip, tmp_path: Path, colour_of: Callable[..., str]) -> None:
    for name in ("red", "blue"):
        make_clip(f"{name}.ts", colours=[name])
    settings = MediaSettings(roots=(tmp_path,))
    with newest_part(room(tmp_path, "red.ts", "blue.ts"), settings) as path:
        seen = {colour_of(frame) for frame in sample(path, settings, live=True).middles}
    assert seen == {"blue"}
    assert not path.exists()


def test_a_master_playlist_leads_to_its_first_variant(make_clip: MakeClip, tmp_path: Path) -> None:
    clip = make_clip("red.ts", colours=["red"])
    room(tmp_path, "red.ts")
    (tmp_path / "master.m3u8").write_text(
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nroom.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nlow.m3u8\n"
    )
    with newest_part((tmp_path / "master.m3u8").as_uri(), MediaSettings(roots=(tmp_path,))) as path:
        assert path.read_bytes() == clip.read_bytes()


def test_a_recording_that_grows_is_read_where_it_lies(make_clip: MakeClip, tmp_path: Path) -> None:
    clip = make_clip("room.ts")
    with newest_part(clip.as_uri(), MediaSettings(roots=(tmp_path,))) as path:
        assert path == clip


@pytest.mark.parametrize("segment", ["http://127.0.0.1/a.ts", "/etc/passwd", "../secret.ts", "ftp://example.com/a.ts"])
def test_what_a_playlist_names_is_checked_as_the_room_was(tmp_path: Path, segment: str) -> None:
    with pytest.raises(BadMedia), newest_part(room(tmp_path, segment), MediaSettings(roots=(tmp_path,))):
        pass


def test_a_playlist_of_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "loop.m3u8").write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nloop.m3u8\n")
    with (
        pytest.raises(BadMedia, match="playlists in one of playlists"),
        newest_part((tmp_path / "loop.m3u8").as_uri(), MediaSettings(roots=(tmp_path,))),
    ):
        pass


def test_fragments_come_with_their_head() -> None:
    playlist = parse('#EXTM3U\n#EXT-X-MAP:URI="init.mp4"\n#EXTINF:2,\n7.m4s\n', "https://cdn.example.com/live/room.m3u8")
    assert playlist.head == "https://cdn.example.com/live/init.mp4"
    assert playlist.segments == ("https://cdn.example.com/live/7.m4s",)


@pytest.mark.parametrize("line", ['#EXT-X-KEY:METHOD=AES-128,URI="key"', "#EXT-X-BYTERANGE:100@0"])
def test_segments_that_cannot_be_read_are_refused(line: str) -> None:
    with pytest.raises(BadMedia, match=f"got {line.split(':')[0]}"):
        parse(f"#EXTM3U\n{line}\n#EXTINF:2,\n1.ts\n", "https://cdn.example.com/room.m3u8")
