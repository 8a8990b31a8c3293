from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from models.perception.decoder.sound import parts, sound
from models.perception.media import check_uri, local_copy, probe, sample
from models.settings import MediaSettings
from streams.ports import BadMedia


@pytest.mark.parametrize(
    "uri", ["https://cdn.example.com/a.mp4", "http://93.184.215.14/a.mp4", "https://[2606:4700::1111]/a.mp4"]
)
def test_a_public_address_may_be_read(uri: str) -> None:
    check_uri(uri, MediaSettings())


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "10.0.0.8", "172.16.3.4", "192.168.1.1", "169.254.169.254", "0.0.0.0", "224.0.0.1",
        "[::1]", "[::ffff:10.0.0.1]", "[fd00::1]", "[2002:7f00:1::]",
        "2130706433", "0x7f.1", "127.1", "metadata.google.internal", "intranet",
    ],
)  # fmt: skip
def test_a_private_host_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises(BadMedia, match="expected a public host"):
        check_uri(f"http://{host}/a.mp4", MediaSettings())


def test_a_host_of_ones_own_is_allowed_by_name() -> None:
    check_uri("http://minio.internal:9000/a.mp4", MediaSettings(private_hosts=("minio.internal",)))


@pytest.mark.parametrize("uri", ["ftp://example.com/a.mp4", "data:video/mp4;base64,AAAA", "a.mp4", "concat:/etc/passwd"])
def test_another_scheme_is_refused_and_the_allowed_ones_named(uri: str) -> None:
    with pytest.raises(BadMedia, match=r"allowed: file, http, https \(media.allowed_schemes\)"):
        check_uri(uri, MediaSettings())


def test_a_file_is_read_only_below_a_root(tmp_path: Path) -> None:
    root = tmp_path / "media"
    root.mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (root / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    settings = MediaSettings(roots=(root,))
    check_uri(f"file://{root}/a%20clip.mp4", settings)
    for path in ("/etc/passwd", f"{root}/../secret.mp4", f"{root}/%2e%2e/secret.mp4", f"{root}/link.mp4"):
        with pytest.raises(BadMedia, match=r"media.roots"):
            check_uri(f"file://{path}", settings)
    with pytest.raises(BadMedia, match="on the host 'elsewhere'"):
        check_uri("file://elsewhere/a.mp4", settings)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    settings = MediaSettings(roots=(tmp_path,))
    with pytest.raises(BadMedia, match="got nothing of that name"), local_copy(f"file://{tmp_path}/none.mp4", settings):
        pass


def test_a_clip_says_its_length_and_size(make_clip: Callable[..., Path]) -> None:
    info = probe(make_clip(seconds_each=0.5), MediaSettings())
    assert (info.width, info.height, info.codec) == (320, 240, "h264")
    assert info.duration_ms == pytest.approx(2000, abs=150)


def test_frames_are_spread_over_a_clip_in_order(make_clip: Callable[..., Path], colour_of: Callable[..., str]) -> None:
    frames = sample(make_clip(), MediaSettings(frames=4))
    assert (frames.middles.shape, frames.wholes.shape) == ((4, 260, 260, 3), (4, 640, 640, 3))
    assert frames.middles.dtype == frames.wholes.dtype == np.uint8
    assert [colour_of(frame) for frame in frames.middles] == ["red", "green", "blue", "white"]
    assert list(frames.at_ms) == sorted(frames.at_ms)


def test_a_long_clip_is_seen_by_seeking(make_clip: Callable[..., Path], colour_of: Callable[..., str]) -> None:
    frames = sample(make_clip(seconds_each=60, fps=1), MediaSettings(frames=8))
    assert [colour_of(frame) for frame in frames.middles] == ["red", "red", "green", "green", "blue", "blue", "white", "white"]


def test_a_clip_of_one_picture_is_seen(make_clip: Callable[..., Path]) -> None:
    assert len(sample(make_clip(colours=["red"], seconds_each=5, frames_each=1), MediaSettings()).at_ms) == 1


def test_an_upright_clip_keeps_its_middle(make_clip: Callable[..., Path], colour_of: Callable[..., str]) -> None:
    frames = sample(make_clip(size=(180, 320)), MediaSettings(frames=4))
    assert [colour_of(frame) for frame in frames.middles] == ["red", "green", "blue", "white"]


def test_a_whole_picture_is_whole_and_surrounded_by_grey(make_clip: Callable[..., Path], colour_of: Callable[..., str]) -> None:
    (picture, *_) = sample(make_clip(colours=["red"], size=(640, 320)), MediaSettings(frames=1)).wholes
    assert (picture[:150] == 127).all()
    assert (picture[-150:] == 127).all()
    assert colour_of(picture[170:470]) == "red"


def test_a_short_scene_is_seen_beside_a_long_one(make_clip: Callable[..., Path], colour_of: Callable[..., str]) -> None:
    clip = make_clip(colours=["red"] * 9 + ["blue"] * 3 + ["red"] * 8, seconds_each=0.5)
    frames = sample(clip, MediaSettings(frames=4))
    assert {colour_of(frame) for frame in frames.middles} == {"red", "blue"}
    assert frames.cuts == 2
    assert frames.motion < 0.1


def test_how_light_and_how_lively_a_video_is_is_measured(make_clip: Callable[..., Path]) -> None:
    white, blue = (sample(make_clip(f"{name}.mp4", colours=[name]), MediaSettings()) for name in ("white", "blue"))
    assert white.brightness > 0.9 > 0.3 > blue.brightness
    assert white.cuts == blue.cuts == 0


def test_a_clip_is_heard(make_clip: Callable[..., Path]) -> None:
    heard = sample(make_clip(hz=440), MediaSettings()).sound
    assert heard.dtype == np.int16
    assert len(heard) == pytest.approx(4 * 16_000, rel=0.03)
    spectrum = np.abs(np.fft.rfft(heard[:16_000]))
    assert int(spectrum.argmax()) == pytest.approx(440, abs=2)


def test_a_mute_clip_is_silent(make_clip: Callable[..., Path]) -> None:
    assert len(sample(make_clip(), MediaSettings()).sound) == 0


def test_a_sound_that_takes_too_long_is_left_out_and_the_video_is_not(make_clip: Callable[..., Path]) -> None:
    with av.open(str(make_clip(hz=440))) as container:
        assert sound(container, 0.0, 4.0, 20.0, until_cpu_s=0.0) == b""
        assert len(sound(container, 0.0, 4.0, 20.0, until_cpu_s=1e9)) > 100_000


def test_of_a_long_clip_parts_are_heard(make_clip: Callable[..., Path]) -> None:
    heard = sample(make_clip(seconds_each=15, hz=440), MediaSettings(listened_s=8)).sound
    assert len(heard) == pytest.approx(8 * 16_000, rel=0.05)


def test_where_to_listen_is_spread_over_what_is_too_long() -> None:
    assert parts(2.0, 12.0, 20.0) == [(2.0, 12.0)]
    assert parts(0.0, 100.0, 8.0) == [(23.0, 27.0), (73.0, 77.0)]


def test_a_live_room_is_seen_by_its_end(make_clip: Callable[..., Path], colour_of: Callable[..., str]) -> None:
    room = make_clip("room.ts", seconds_each=10)
    settings = MediaSettings(frames=3, live_window_ms=8000, max_duration_ms=1000)
    assert {colour_of(frame) for frame in sample(room, settings, live=True).middles} == {"white"}


def test_a_recording_that_does_not_say_its_length_is_measured(make_clip: Callable[..., Path]) -> None:
    recording = make_clip("recording.mkv", options={"live": "1"})
    frames = sample(recording, MediaSettings())
    assert frames.info.duration_ms == pytest.approx(4000, abs=200)
    assert len(frames.at_ms) == 8


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected a video of 1 to 200000000 bytes .* got 0"),
        (b"not a video at all\n" * 100, "can't be read as one"),
        (bytes(10_000), "can't be read as one"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(1000), "can't be read as one"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(BadMedia, match=expected):
        sample(path, MediaSettings())


def test_half_a_clip_is_refused_or_seen_but_never_hangs(make_clip: Callable[..., Path]) -> None:
    whole = make_clip("clip.ts").read_bytes()
    half = make_clip("half.ts")
    half.write_bytes(whole[: len(whole) // 2])
    assert len(sample(half, MediaSettings()).at_ms) > 0


def test_a_damaged_clip_is_seen_up_to_its_damage(make_clip: Callable[..., Path]) -> None:
    clip = make_clip("clip.mkv", fps=25)
    content = bytearray(clip.read_bytes())
    content[len(content) // 2 :] = np.random.default_rng(0).bytes(len(content) - len(content) // 2)
    clip.write_bytes(content)
    assert len(sample(clip, MediaSettings()).at_ms) >= 2


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.float32), format="fltp", layout="mono")
        frame.rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(BadMedia, match="expected a video stream, got audio"):
        probe(path, MediaSettings())


def test_a_playlist_is_not_followed_to_other_files(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{make_clip('other.ts')}\n#EXT-X-ENDLIST\n")
    with pytest.raises(BadMedia, match="can't be read as one"):
        sample(playlist, MediaSettings())


def test_four_hours_are_too_long(make_clip: Callable[..., Path]) -> None:
    film = make_clip(colours=["red"] * 16, seconds_each=900, fps=1, size=(64, 64), frames_each=1)
    with pytest.raises(BadMedia, match=r"expected at most 3600000 ms \(media.max_duration_ms\), got 1\d{7} ms"):
        probe(film, MediaSettings())


def test_bounds_of_size_and_pixels_are_named(make_clip: Callable[..., Path]) -> None:
    clip = make_clip()
    with pytest.raises(BadMedia, match=r"media.max_bytes"):
        probe(clip, MediaSettings(max_bytes=100))
    with pytest.raises(BadMedia, match=r"expected 1 to 1000 pixels a frame \(media.max_pixels\), got 76800"):
        probe(clip, MediaSettings(max_pixels=1000))


def test_a_decoder_that_takes_too_long_is_ended(make_clip: Callable[..., Path]) -> None:
    with pytest.raises(BadMedia, match=r"media.decode_timeout_s"):
        sample(make_clip(), MediaSettings(decode_timeout_s=0.01))


def test_a_decoder_that_takes_too_much_memory_is_ended(make_clip: Callable[..., Path]) -> None:
    bomb = make_clip("bomb.mp4", colours=["red"], seconds_each=2, size=(7680, 4320), fps=1)
    with pytest.raises(BadMedia, match="memory"):
        sample(bomb, MediaSettings(decode_memory_bytes=300_000_000))
    assert len(sample(bomb, MediaSettings()).at_ms) > 0
