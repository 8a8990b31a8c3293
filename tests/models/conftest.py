"""What tests of models share: an encoder in memory that reads words and colours, clips of plain colours, a chat server."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from models.perception.encoders import FrameReading, Sight, Writing
from streams.ports import PerceptionLate, PerceptionUnavailable
from tests.models.chat_server import Server

COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220), "white": (240, 240, 240)}


class WordsAndColours:
    """An `Encoder` without a server: a text is the sum of its words' random directions, a frame is its plain colour's name.

    `writing` is what stands in every frame; `late` and `away` are the methods that don't answer.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.writing: tuple[str, ...] = ()
        self.late: set[str] = set()
        self.away: set[str] = set()

    def _answer(self, method: str, within_s: float | None) -> None:
        if method in self.away:
            raise PerceptionUnavailable(f"no {method} here")
        if method in self.late and within_s is not None:
            raise PerceptionLate(f"{method}: no answer within {within_s} s")

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.requests += 1
        rows = [sum((_direction(word) for word in _words(text)), _direction("")) for text in texts]
        vectors = np.array(rows, np.float32).reshape(-1, 384)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def frames(self, frames: NDArray[np.uint8], *, within_s: float | None = None) -> FrameReading:
        self._answer("frames", within_s)
        names = list(COLOURS)
        colours = np.array(list(COLOURS.values()))
        nearest = [int(np.abs(colours - frame.mean(axis=(0, 1))).sum(axis=1).argmin()) for frame in frames]
        labels = [[names[at], *(["nothing"] * 9)] for at in nearest]
        # White may be anything.
        sure = np.array([[0.2 if row[0] == "white" else 0.9] for row in labels], np.float32)
        probabilities = np.concatenate([sure, np.full((len(frames), 9), 0.01, np.float32)], axis=1)
        return FrameReading(labels, probabilities, sure * np.array([_direction(row[0]) for row in labels], np.float32))

    def see(self, frames: NDArray[np.uint8], pictures: NDArray[np.uint8], *, within_s: float | None = None) -> Sight:
        """Nothing but colours: no picture has a thing in it."""
        self._answer("see", within_s)
        reading = self.frames(frames)
        nothing, nowhere = np.zeros((len(frames), 10), np.float32), np.zeros((len(frames), 384), np.float32)
        return Sight(reading, [["nothing"] * 10] * len(frames), nothing, nothing, nowhere)

    def read(self, pictures: NDArray[np.uint8], *, within_s: float | None = None) -> Writing:
        self._answer("read", within_s)
        row = [*self.writing, *([""] * (12 - len(self.writing)))]
        return Writing([row] * len(pictures), np.array([[0.95 if line else 0.0 for line in row]] * len(pictures), np.float32))

    def listen(self, sound: NDArray[np.int16], *, within_s: float | None = None) -> NDArray[np.float32]:
        """Whatever is to be heard is music."""
        self._answer("listen", within_s)
        return np.array([0.0, float((sound != 0).mean()), 0.0], np.float32)

    def unsafe(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Red is."""
        return np.array([float(row[0] == "red") for row in self.frames(frames).labels], np.float32)


def _words(text: str) -> list[str]:
    return "".join(character if character.isalnum() else " " for character in text.casefold()).split()


def _direction(word: str) -> NDArray[np.float64]:
    # Faint, so that a text of no words has a length too.
    scale = 1.0 if word else 0.01
    vector = np.random.default_rng(zlib.crc32(word.encode())).normal(size=384)
    return scale * vector / np.linalg.norm(vector)


@pytest.fixture
def encoder() -> WordsAndColours:
    return WordsAndColours()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny language model that answers in form and likes news."""
    # Not where all tests begin: what it is made with takes seconds to import.
    from tests.models import tiny_model

    folder = tmp_path_factory.mktemp("base")
    tiny_model.write(folder)
    return folder


MakeClip = Callable[..., Path]


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """A function that writes a video of plain colours, each for `seconds_each`, with a tone of `hz`, and returns its path."""

    def make(
        name: str = "clip.mp4",
        colours: Sequence[str] = ("red", "green", "blue", "white"),
        *,
        seconds_each: float = 1.0,
        size: tuple[int, int] = (320, 240),
        fps: int = 8,
        frames_each: int | None = None,
        options: dict[str, str] | None = None,
        hz: float | None = None,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", options=options or {}) as container:
            stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "g": "8"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.time_base = Fraction(1, 1000)
            voice = None if hz is None else container.add_stream("aac", rate=44_100, layout="mono")
            count = frames_each or max(1, round(seconds_each * fps))
            for at in range(len(colours) * count):
                picture = np.full((size[1], size[0], 3), COLOURS[colours[at // count]], np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.time_base, frame.pts = Fraction(1, 1000), round(at * seconds_each * 1000 / count)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            if voice is not None:
                tone = np.sin(2 * np.pi * hz * np.arange(int(44_100 * seconds_each * len(colours))) / 44_100)
                sound = av.AudioFrame.from_ndarray((tone * 8000).astype(np.int16)[None], format="s16", layout="mono")
                sound.sample_rate, sound.pts = 44_100, 0
                container.mux(voice.encode(sound))
                container.mux(voice.encode())
        return path

    return make


def colour_of(frame: NDArray[np.uint8]) -> str:
    """Return the name of a frame's plain colour."""
    return min(COLOURS, key=lambda name: float(np.abs(frame.mean(axis=(0, 1)) - COLOURS[name]).sum()))


@pytest.fixture(name="colour_of")
def _colour_of() -> Callable[[NDArray[np.uint8]], str]:
    return colour_of
