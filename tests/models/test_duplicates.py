from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from models.perception.agent import PerceptionAgent
from models.perception.duplicates import KnownVideos, fingerprints
from models.perception.encoders import Encoder
from models.perception.plain import PlainUnderstanding
from models.settings import MediaSettings
from streams.events import Perception, Upload
from streams.follower import Followed
from streams.topics import PERCEPTIONS


def scenes(seed: int, count: int = 6) -> NDArray[np.uint8]:
    """Pictures with light and dark places, uint8 (count, 260, 260, 3)."""
    rough = np.random.default_rng(seed).integers(0, 256, (count, 13, 13, 3), dtype=np.uint8)
    return rough.repeat(20, axis=1).repeat(20, axis=2)


def of(video_id: str, *, at: int = 0, clip: Path | None = None) -> Upload:
    uri = None if clip is None else clip.as_uri()
    return Upload(event_id="e", video_id=video_id, author_id="a", title="t", uploaded_at=at, media_uri=uri)


NEW = of("new", at=9)


def test_the_same_frames_darker_and_noisier_are_found_again() -> None:
    known = KnownVideos()
    known.add(of("first"), fingerprints(scenes(0)))
    known.add(of("other"), fingerprints(scenes(1)))
    noise = np.random.default_rng(2).normal(0, 6, (6, 260, 260, 3))
    worse = np.clip(scenes(0) * 0.7 + noise, 0, 255).astype(np.uint8)
    assert known.earlier(NEW, fingerprints(worse)) == ("first",)
    assert known.earlier(NEW, fingerprints(scenes(3))) == ()


def test_the_original_is_no_copy_of_its_copies_and_a_video_none_of_itself() -> None:
    known, prints = KnownVideos(), fingerprints(scenes(0))
    known.add(of("first", at=1), prints)
    known.add(of("copy", at=2), prints)
    assert known.earlier(of("first", at=1), prints) == ()
    assert known.earlier(of("copy", at=2), prints) == ("first",)


def test_a_gone_video_is_known_no_more() -> None:
    known, prints = KnownVideos(), fingerprints(scenes(0))
    known.add(of("first"), prints)
    assert known.earlier(NEW, prints) == ("first",)
    known.forget("first")
    assert known.earlier(NEW, prints) == ()
    assert len(known) == 0


def test_a_video_perceived_again_is_known_by_its_newest_frames() -> None:
    known = KnownVideos()
    known.add(of("v"), fingerprints(scenes(0)))
    known.add(of("v"), fingerprints(scenes(1)))
    assert known.earlier(NEW, fingerprints(scenes(0))) == ()
    assert known.earlier(NEW, fingerprints(scenes(1))) == ("v",)
    known.add(of("v"), b"")
    assert known.earlier(NEW, fingerprints(scenes(1))) == ()


def test_plain_pictures_are_like_nothing() -> None:
    black = np.zeros((3, 260, 260, 3), np.uint8)
    assert fingerprints(black) == b""
    known = KnownVideos()
    known.add(of("black"), fingerprints(black))
    assert known.earlier(NEW, fingerprints(black)) == ()


def test_one_frame_in_common_is_no_copy() -> None:
    known = KnownVideos()
    known.add(of("first"), fingerprints(scenes(0)))
    mixed = np.concatenate([scenes(0)[:1], scenes(5)[1:]])
    assert known.earlier(NEW, fingerprints(mixed)) == ()


def test_what_is_known_follows_the_topic(encoder: Encoder) -> None:
    known = KnownVideos()
    prints = fingerprints(scenes(0))
    perception = Perception(
        video=of("v"),
        stage="frames",
        summary="",
        topics=(),
        embedding=b"",
        model_version="m",
        perceived_at=0,
        fingerprints=prints,
    )
    known.take_in([Followed(PERCEPTIONS, "v", perception, 0)])
    assert known.earlier(NEW, prints) == ("v",)
    known.take_in([Followed(PERCEPTIONS, "v", None, 0)])
    assert known.earlier(NEW, prints) == ()


@pytest.mark.parametrize("options", [{"crf": "38"}, {"crf": "30", "tune": "grain"}])
def test_a_clip_that_was_encoded_again_is_named_as_a_copy(encoder: Encoder, tmp_path: Path, options: dict[str, str]) -> None:
    original = _write(tmp_path / "original.mp4", scenes(7), {"crf": "18"}, 260)
    copy = _write(tmp_path / "copy.mp4", scenes(7), options, 132)
    known = KnownVideos()
    agent = PerceptionAgent(encoder, PlainUnderstanding(encoder), MediaSettings(roots=(tmp_path,)), known=known)
    first = agent.frames(of("first", clip=original))
    assert first.duplicate_of == ()
    known.add(first.video, first.fingerprints)
    assert agent.frames(of("second", at=1, clip=copy)).duplicate_of == ("first",)


def _write(path: Path, pictures: NDArray[np.uint8], options: dict[str, str], side: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options=options)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for picture in pictures.repeat(8, axis=0):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(side, side)))
        container.mux(stream.encode())
    return path
