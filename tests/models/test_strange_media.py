"""Whatever strangers upload is seen, or refused in words, within the decoder's limits."""

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from models.perception.media import sample
from models.settings import MediaSettings
from streams.ports import BadMedia

MakeClip = Callable[..., Path]


def write(path: Path, pictures: list[np.ndarray], *, at_ms: list[int] | None = None, codec: str = "libx264") -> Path:
    """Write pictures as a video, each shown from its time on."""
    times = at_ms or [500 * at for at in range(len(pictures))]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for picture, at in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.time_base, frame.pts = Fraction(1, 1000), at
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def plain(red: int, green: int, blue: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    return np.full((*size, 3), (red, green, blue), np.uint8)


RED, BLUE = plain(220, 20, 20), plain(20, 20, 220)


def test_frames_of_unequal_length_are_seen_by_when_they_are_shown(tmp_path: Path, colour_of: Callable[..., str]) -> None:
    # Twenty frames in the first second, then one for nine.
    clip = write(tmp_path / "vfr.mp4", [RED] * 20 + [BLUE] * 2, at_ms=[*range(0, 1000, 50), 1000, 10_000])
    colours = [colour_of(frame) for frame in sample(clip, MediaSettings(frames=8)).middles]
    assert colours.count("blue") > 0


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mov", "clip.avi", "clip.ts", "clip.flv"])
def test_any_usual_container_is_seen(make_clip: MakeClip, name: str) -> None:
    assert len(sample(make_clip(name), MediaSettings()).at_ms) >= 4


def test_a_gif_is_seen(tmp_path: Path, colour_of: Callable[..., str]) -> None:
    clip = write(tmp_path / "clip.gif", [RED, RED, BLUE, BLUE], codec="gif")
    assert {colour_of(frame) for frame in sample(clip, MediaSettings()).middles} == {"red", "blue"}


def test_what_a_file_is_called_does_not_matter(make_clip: MakeClip, tmp_path: Path) -> None:
    clip = make_clip("clip.mp4").rename(tmp_path / "holiday.jpg")
    assert sample(clip, MediaSettings()).info.codec == "h264"


@pytest.mark.parametrize("size", [(16, 1600), (1600, 16), (2, 2), (64, 64)])
def test_thin_and_tiny_pictures_are_seen_whole(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = sample(write(tmp_path / "clip.mp4", [plain(220, 20, 20, size)] * 4), MediaSettings())
    height, width = (640 * side / max(size) for side in size)
    for picture in frames.wholes:
        shown = (picture.astype(int) - 127).__abs__().sum(axis=2) > 60
        assert shown.sum() == pytest.approx(height * width, rel=0.2)


def test_a_clip_without_sound_says_so(make_clip: MakeClip) -> None:
    assert sample(make_clip(), MediaSettings()).info.has_audio is False


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    assert len(sample(write(tmp_path / "one.mp4", [RED]), MediaSettings()).at_ms) == 1


@pytest.mark.parametrize("keep", [0.05, 0.3, 0.6, 0.9])
def test_a_truncated_file_is_seen_or_refused_in_words(make_clip: MakeClip, keep: float) -> None:
    clip = make_clip("clip.mkv", fps=25)
    content = clip.read_bytes()
    clip.write_bytes(content[: int(len(content) * keep)])
    seen_or_refused(clip)


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bytes_are_seen_or_refused_in_words(make_clip: MakeClip, seed: int) -> None:
    rng = np.random.default_rng(seed)
    clip = make_clip("clip.mp4" if seed % 2 else "clip.ts")
    content = bytearray(clip.read_bytes())
    for at in rng.integers(len(content), size=20):
        content[at] = rng.integers(256)
    clip.write_bytes(content)
    seen_or_refused(clip)


def seen_or_refused(clip: Path) -> None:
    with suppress(BadMedia):
        frames = sample(clip, MediaSettings())
        assert len(frames.middles) == len(frames.wholes) == len(frames.at_ms) > 0
