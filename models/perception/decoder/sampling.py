"""Frames that show what a video has to show: some of each scene, longer scenes more, and how much happens between them."""

import itertools
from contextlib import suppress
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from models.perception.decoder.pictures import Picture, fitted, middle, whole
from models.perception.decoder.video import spread

# Candidates for each frame that is kept: more find shorter scenes, and each costs the decoding of its part of the file.
CANDIDATES = 2
# Mean change of luma between candidates, of 255, from which it is another scene: a pan stays below 30, most cuts are above 40.
CUT = 35.0


@dataclass(frozen=True)
class Sample:
    """Frames of one file, in order. `motion` and `brightness` are shares, 0 to 1; motion is measured within scenes."""

    at_ms: list[int]
    middles: list[Picture]
    wholes: list[Picture]
    cuts: int
    motion: float
    brightness: float


def sampled(
    container: av.container.InputContainer, stream: av.VideoStream, start_s: float, duration_s: float, count: int
) -> Sample:
    """Return at most `count` frames from `start_s` on, the middles of scenes; fewer where the file is damaged or ends."""
    at_ms: list[int] = []
    pictures: list[Picture] = []
    with suppress(av.error.InvalidDataError):
        for frame in spread(container, stream, start_s, duration_s, CANDIDATES * count):
            at_ms.append(round((frame.time or 0.0) * 1000))
            # Whatever its size was, a candidate takes a megabyte at most from here on.
            pictures.append(fitted(frame))
    lumas = [luma(picture) for picture in pictures]
    changes = [float(np.abs(after - before).mean()) for before, after in itertools.pairwise(lumas)]
    within = [change for change in changes if change < CUT]
    kept = scene_middles([change >= CUT for change in changes], count) if pictures else []
    return Sample(
        at_ms=[at_ms[at] for at in kept],
        middles=[middle(pictures[at]) for at in kept],
        wholes=[whole(pictures[at]) for at in kept],
        cuts=len(changes) - len(within),
        motion=round(float(np.median(within)) / CUT, 3) if within else 0.0,
        brightness=round(float(np.mean(lumas)) / 255, 3) if lumas else 0.0,
    )


def luma(picture: Picture) -> NDArray[np.float64]:
    """Return a small grey picture, (20, 20), of the fitted one."""
    height, width, _ = picture.shape
    rows, columns = np.linspace(0, height - 1, 80).astype(int), np.linspace(0, width - 1, 80).astype(int)
    grey = picture[rows][:, columns] @ np.array([0.299, 0.587, 0.114])
    small: NDArray[np.float64] = grey.reshape(20, 4, 20, 4).mean(axis=(1, 3))
    return small


def scene_middles(cuts: list[bool], count: int) -> list[int]:
    """Return at most `count` of the candidates, in order: the middles of the longest scenes, then of halves of the longest.

    `cuts` says of each pair of neighbours whether a scene ends between them.
    """
    scenes: list[list[int]] = [[0]]
    for at, cut in enumerate(cuts, start=1):
        if cut:
            scenes.append([])
        scenes[-1].append(at)
    while len(scenes) < count and len(longest := max(scenes, key=len)) > 1:
        at = scenes.index(longest)
        scenes[at : at + 1] = [longest[: len(longest) // 2], longest[len(longest) // 2 :]]
    longest_first = sorted(scenes, key=len, reverse=True)[:count]
    return sorted(scene[len(scene) // 2] for scene in longest_first)
