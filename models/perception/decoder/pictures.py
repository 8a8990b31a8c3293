"""A frame as the encoders and the pages want it: upright RGB, whole or its middle, or a JPEG."""

from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

# What the classifier was trained on: the middle of the picture.
MIDDLE_SIDE = 260
# Whole pictures, for what is small in them and for text: half of the side loses subtitles, twice takes four times as long.
WHOLE_SIDE = 640
# What surrounds a whole picture that isn't square: the detector was trained with this grey.
SURROUND = 127
# The encoder's quantizer, 2 to 31: 4 is a picture of 720 lines in 60 to 120 kB without visible blocks.
JPEG_QUANTIZER = 4

Picture = NDArray[np.uint8]


def fitted(frame: av.VideoFrame) -> Picture:
    """Return the whole frame, RGB uint8 (h, w, 3), upright, its longer side `WHOLE_SIDE`."""
    scale = WHOLE_SIDE / max(frame.width, frame.height)
    width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    pixels = frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)), np.uint8)


def middle(picture: Picture) -> Picture:
    """Return the middle of a fitted picture, uint8 (260, 260, 3)."""
    height, width, _ = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(picture[top : top + side, left : left + side])
    scaled = av.VideoFrame.from_ndarray(square, "rgb24").reformat(MIDDLE_SIDE, MIDDLE_SIDE, interpolation="AREA")
    return np.ascontiguousarray(scaled.to_ndarray(), np.uint8)


def whole(picture: Picture) -> Picture:
    """Return a fitted picture in the middle of a grey square, uint8 (640, 640, 3)."""
    height, width, _ = picture.shape
    top, left = (WHOLE_SIDE - height) // 2, (WHOLE_SIDE - width) // 2
    square = np.full((WHOLE_SIDE, WHOLE_SIDE, 3), SURROUND, np.uint8)
    square[top : top + height, left : left + width] = picture
    return square


def jpeg(frame: av.VideoFrame, stream: av.VideoStream, short_side: int) -> bytes:
    """Return the whole frame as a JPEG, upright, its pixels square and its short side at most `short_side`."""
    wide = frame.width * float(stream.sample_aspect_ratio or 1)
    scale = min(1.0, short_side / min(wide, frame.height))
    width, height = max(1, round(wide * scale)), max(1, round(frame.height * scale))
    pixels = frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
    upright: Picture = np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)), np.uint8)
    return jpeg_of(upright)


def jpeg_of(picture: Picture) -> bytes:
    """Return RGB bytes, uint8 (h, w, 3), as a JPEG."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 1)
    # FF_QP2LAMBDA: quantizers are given to this encoder times 118.
    encoder.options = {"flags": "+qscale", "global_quality": str(JPEG_QUANTIZER * 118)}
    full = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in (*encoder.encode(full), *encoder.encode(None)))
