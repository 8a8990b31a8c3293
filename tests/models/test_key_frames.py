import numpy as np

from models.perception.encoders import FrameReading
from models.perception.key_frames import key_frames


def reading(*directions: int) -> FrameReading:
    """Frames that each point along one axis of the space of texts."""
    embeddings = np.eye(384, dtype=np.float32)[list(directions)]
    return FrameReading([["x"] * 10] * len(directions), np.zeros((len(directions), 10), np.float32), embeddings)


NOWHERE = np.zeros(384, np.float32)


def test_frames_that_differ_are_kept_and_alike_ones_are_not() -> None:
    assert key_frames(reading(0, 0, 0, 1, 0, 2), NOWHERE) == [0, 3, 5]


def test_the_frame_of_the_title_is_kept_first() -> None:
    title = np.eye(384, dtype=np.float32)[7]
    assert key_frames(reading(0, 1, 7, 2), title, most=1) == [2]


def test_fewer_frames_are_all_kept() -> None:
    assert key_frames(reading(0, 1), NOWHERE) == [0, 1]
    assert key_frames(reading(3), NOWHERE) == [0]


def test_frames_that_say_nothing_are_no_error() -> None:
    embeddings = np.zeros((4, 384), np.float32)
    blank = FrameReading([["x"] * 10] * 4, np.zeros((4, 10), np.float32), embeddings)
    assert len(key_frames(blank, NOWHERE)) == 3
