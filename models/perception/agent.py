"""The perception agent: the flows' `Perceiver`, with two encoders. The title is understood at once, the frames after it."""

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from models.perception.encoders import Encoder, FrameReading
from models.perception.live import newest_part
from models.perception.media import local_copy, sample
from models.perception.topics import Topics
from models.settings import MediaSettings
from streams.codec import pack_vector
from streams.events import Perception, Upload
from streams.features import Vector
from streams.ports import BadMedia

# Part of every perception: what was perceived by another version is perceived again.
MODEL_VERSION = "minilm-l6+efficientnet-lite0-1"
# How much frames count beside a title of weight 1. Of 21 labelled clips, each finds its label (mean reciprocal rank) at .15 by
# an uninformative title alone and at .56 with frames at this weight; by a telling title .93 and .94. More weight goes on to
# help the first and begins to hurt the second.
FRAMES_WEIGHT = 2.0
# Below this share of the frames' probability a class is a guess that no viewer should read: of the same clips, seven of the ten
# classes above it are right, and a third of those above 0.1.
SHOWN_FROM = 0.25
SHOWN_MOST = 3


class PerceptionAgent:
    """Understands videos by their words and their frames. Safe to share between threads."""

    model_version = MODEL_VERSION

    def __init__(self, encoder: Encoder, media: MediaSettings) -> None:
        self._encoder = encoder
        self._media = media
        self._topics = Topics(encoder)

    def titles(self, uploads: Sequence[Upload]) -> list[Perception]:
        """Return one perception of stage "title" for each upload, in order. Raises PerceptionUnavailable."""
        started = time.perf_counter()
        embeddings = self._encoder.texts([words(upload) for upload in uploads])
        return [
            self._perception(upload, "title", upload.title, embedding, started)
            for upload, embedding in zip(uploads, embeddings, strict=True)
        ]

    def frames(self, upload: Upload) -> Perception:
        """Return a perception of stage "frames": of a video by frames spread over it, of a live room by its last seconds.

        Raises:
            BadMedia: no media, or none that may be read or can be decoded.
            PerceptionUnavailable: the encoders can't be reached now.
        """
        started = time.perf_counter()
        if upload.media_uri is None:
            raise BadMedia(f"upload {upload.event_id}: expected a media_uri to see frames of, got none")
        try:
            opened = newest_part if upload.kind == "live" else local_copy
            with opened(upload.media_uri, self._media) as path:
                _, pictures = sample(path, self._media, live=upload.kind == "live")
        except BadMedia as error:
            raise BadMedia(f"upload {upload.event_id}: {error}") from error
        reading = self._encoder.frames(pictures)
        (title,) = self._encoder.texts([words(upload)])
        shown = shows(reading)
        summary = f"{upload.title} — shows: {', '.join(shown)}" if shown else upload.title
        return self._perception(upload, "frames", summary, blend(title, reading), started)

    def _perception(
        self, upload: Upload, stage: Literal["title", "frames"], summary: str, embedding: Vector, started: float
    ) -> Perception:
        return Perception(
            video=upload,
            stage=stage,
            summary=summary,
            topics=self._topics.of(embedding, upload.tags),
            embedding=pack_vector(embedding),
            model_version=self.model_version,
            perceived_at=time.time_ns() // 1_000_000,
            took_ms=round((time.perf_counter() - started) * 1000),
            language=upload.language,
        )


def words(upload: Upload) -> str:
    """Return the text an upload is embedded by: its title and tags."""
    return " ".join([upload.title, *upload.tags])


def blend(title: Vector, reading: FrameReading) -> Vector:
    """Return the unit vector, (384,), of a title's unit vector and its frames, surer frames weighing more."""
    both = title + FRAMES_WEIGHT * reading.embeddings.mean(axis=0)
    unit: Vector = (both / np.linalg.norm(both)).astype(np.float32)
    return unit


def shows(reading: FrameReading) -> list[str]:
    """Return what the frames most surely show, best first, in at most three names."""
    shares: defaultdict[str, float] = defaultdict(float)
    for labels, probabilities in zip(reading.labels, reading.probabilities, strict=True):
        for label, probability in zip(labels, probabilities, strict=True):
            shares[label] += float(probability) / len(reading.labels)
    sure = [label for label, share in shares.items() if share >= SHOWN_FROM]
    return sorted(sure, key=lambda label: -shares[label])[:SHOWN_MOST]
