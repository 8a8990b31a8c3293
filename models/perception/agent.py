"""The Item Perception agent: the flows' `Perceiver`. A title is understood at once; frames after it, step by step.

Glance, key frames, perceive, rewrite (VRAgent-R1, section 3.1): each step goes deeper, costs more, and is recorded with what it
took. Without a rewrite, which has a deadline, what the steps before it understood stands.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from models.perception.duplicates import KnownVideos, fingerprints
from models.perception.encoders import Encoder, Sight
from models.perception.glance import is_sufficient
from models.perception.key_frames import key_frames
from models.perception.live import newest_part
from models.perception.media import Frames, local_copy, sample
from models.perception.perceive import caption, seen, tags
from models.perception.topics import THRESHOLD, Topics, confidence
from models.perception.understanding import NotUnderstood, Rewrite, Understanding, View, unwritten, words
from models.settings import MediaSettings
from streams.codec import pack_vector
from streams.events import Perception, PerceptionStep, StepName, TopicScore, Upload
from streams.features import Vector
from streams.ports import BadMedia

log = logging.getLogger(__name__)

# Part of every perception: what was perceived by another version is perceived again.
MODEL_VERSION = "minilm-l6+efficientnet-lite2+yolov3-tiny+open-nsfw-1"
# How much frames count beside a title of weight 1. Of 21 labelled clips, each finds its label (mean reciprocal rank) by a dull
# title alone at .17, with frames at this weight at .55; by a telling title at .82 and .91. At 1 it is .51 and .94, at 2 .60 and
# .89.
FRAMES_WEIGHT = 1.5
LONGEST_NAME = 64
# How much a model's summary counts beside both.
SUMMARY_WEIGHT = 0.5


@dataclass
class Progress:
    """The steps of one perception that were done, with their times."""

    started: float = field(default_factory=time.perf_counter)
    steps: list[PerceptionStep] = field(default_factory=list)

    @contextmanager
    def step(self, name: StepName) -> Iterator[None]:
        """Time a step; one that fails is not recorded."""
        began = time.perf_counter()
        yield
        self.steps.append(PerceptionStep(name, round((time.perf_counter() - began) * 1000)))

    def took_ms(self) -> int:
        """Return the milliseconds since the beginning."""
        return round((time.perf_counter() - self.started) * 1000)


@dataclass(frozen=True)
class Look:
    """What frames `rows` of a sample show: in names, and as a vector (384,) in the space of texts."""

    rows: tuple[int, ...]
    shown: tuple[TopicScore, ...]
    vector: Vector


class PerceptionAgent:
    """Understands videos by their words and their frames. Safe to share between threads."""

    def __init__(
        self,
        encoder: Encoder,
        understanding: Understanding,
        media: MediaSettings,
        *,
        known: KnownVideos | None = None,
        rewrite_within_s: float = 8.0,
        deepest: StepName = "rewrite",
        spares: bool = True,
    ) -> None:
        """`known` are the videos that a new one may repeat.

        `deepest` is the last step taken, and with `spares` a glance that suffices is: both are for evaluation.
        """
        self._encoder = encoder
        self._understanding = understanding
        self._media = media
        self._known = known
        self._rewrite_within_s = rewrite_within_s
        self._deepest = deepest
        self._spares = spares
        self._topics = Topics(encoder)
        # The end of a name tells models apart: a path may be longer than a version.
        self.model_version = f"{MODEL_VERSION}+{understanding.name[-LONGEST_NAME:]}"

    def titles(self, uploads: Sequence[Upload]) -> list[Perception]:
        """Return one perception of stage "title" for each upload, in order. Raises PerceptionUnavailable."""
        progress = Progress()
        embeddings = self._encoder.texts([words(upload) for upload in uploads])
        return [
            Perception(
                video=upload,
                stage="title",
                summary=upload.title,
                topics=self._topics.of(embedding, upload.tags),
                embedding=pack_vector(embedding),
                model_version=self.model_version,
                perceived_at=time.time_ns() // 1_000_000,
                took_ms=progress.took_ms(),
                language=upload.language,
            )
            for upload, embedding in zip(uploads, embeddings, strict=True)
        ]

    def frames(self, upload: Upload) -> Perception:
        """Return a perception of stage "frames": of a video by frames of its scenes, of a live room by its last seconds.

        Raises:
            BadMedia: no media, or none that may be read or can be decoded.
            PerceptionUnavailable: the encoders can't be reached now.
        """
        progress = Progress()
        frames = self.sample(upload)
        title = self._title(upload)
        look = self._look(upload, title, frames, progress)
        rewrite = self._rewrite(View(upload, look.shown, frames.wholes[list(look.rows)]), progress)
        embedding = blend(title, look.vector)
        topics = self._topics.of(embedding, upload.tags)
        # A room is like itself, every half a minute.
        prints = b"" if upload.kind == "live" else fingerprints(frames.middles)
        if rewrite.topics and rewrite.summary:
            topics = self._grounded(rewrite, embedding, topics)
            (said,) = self._encoder.texts([rewrite.summary])
            embedding = blend(embedding, said, weight=SUMMARY_WEIGHT)
        # Of all frames, whatever sufficed to say what it is: a harmless cover is how the rest would be hidden.
        unsafe = float(self._encoder.unsafe(frames.middles).max())
        return Perception(
            video=upload,
            stage="frames",
            summary=rewrite.summary,
            topics=topics,
            embedding=pack_vector(embedding),
            model_version=self.model_version,
            perceived_at=time.time_ns() // 1_000_000,
            took_ms=progress.took_ms(),
            steps=tuple(progress.steps),
            shows=look.shown,
            hook=rewrite.hook,
            mood=rewrite.mood,
            audience=rewrite.audience,
            language=rewrite.language if upload.language == "und" else upload.language,
            safety={"unsafe": round(unsafe, 3)},
            motion=frames.motion,
            brightness=frames.brightness,
            fingerprints=prints,
            duplicate_of=() if self._known is None else self._known.earlier(upload, prints),
        )

    def _look(self, upload: Upload, title: Vector, frames: Frames, progress: Progress) -> Look:
        """Glance, and where that does not suffice, find the key frames and perceive them."""
        rows = [0]
        with progress.step("glance"):
            sight = self._see(frames, rows)
            # A room moves on from whatever its first frame showed.
            enough = self._spares and upload.kind == "video" and is_sufficient(title, sight)
        if not enough and self._deepest != "glance" and len(frames.middles) > 1:
            with progress.step("key_frames"):
                rows = key_frames(self._encoder.frames(frames.middles), title)
            with progress.step("perceive"):
                sight = self._see(frames, rows)
        shown = tags(sight)
        (written,) = self._encoder.texts([caption(shown)]) if shown else (None,)
        return Look(tuple(rows), shown, seen(sight, written))

    def sample(self, upload: Upload) -> Frames:
        """Return frames of an upload's media. Raises BadMedia."""
        if upload.media_uri is None:
            raise BadMedia(f"upload {upload.event_id}: expected a media_uri to see frames of, got none")
        try:
            opened = newest_part if upload.kind == "live" else local_copy
            with opened(upload.media_uri, self._media) as path:
                return sample(path, self._media, live=upload.kind == "live")
        except BadMedia as error:
            raise BadMedia(f"upload {upload.event_id}: {error}") from error

    def _title(self, upload: Upload) -> Vector:
        """Return the words' unit vector, (384,); that of no words is nothing, not what the encoder thinks of silence."""
        (title,) = self._encoder.texts([words(upload)])
        return title if words(upload) else np.zeros_like(title)

    def _see(self, frames: Frames, rows: list[int]) -> Sight:
        return self._encoder.see(frames.middles[rows], frames.wholes[rows])

    def _rewrite(self, view: View, progress: Progress) -> Rewrite:
        if self._deepest != "rewrite":
            return unwritten(view.upload)
        try:
            with progress.step("rewrite"):
                return self._understanding.rewrite(view, within_s=self._rewrite_within_s)
        except NotUnderstood as error:
            # What is seen is worth more now than what might be said of it later.
            log.warning("video %s: no rewrite: %s", view.upload.video_id, error)
            return unwritten(view.upload)

    def _grounded(self, rewrite: Rewrite, embedding: Vector, topics: tuple[TopicScore, ...]) -> tuple[TopicScore, ...]:
        """Return the topics known without the rewrite, and those of the rewrite that what is seen or said bears out.

        A title that asks for a topic gets at most what its words are near to anyway.
        """
        known = {topic.name for topic in topics}
        named = {topic.name: topic.confidence for topic in rewrite.topics}
        fresh = [name for name in named if name not in known]
        if not fresh:
            return topics
        near = self._topics.directions(self._encoder.texts(fresh)) @ embedding
        # No surer than what bears it out, whatever confidence was asked for.
        borne = [
            TopicScore(name, round(min(named[name], confidence(float(one))), 3))
            for name, one in zip(fresh, near, strict=True)
            if one > THRESHOLD
        ]
        return (*topics, *borne)


def blend(title: Vector, other: Vector, *, weight: float = FRAMES_WEIGHT) -> Vector:
    """Return the unit vector, (384,), of a title's unit vector and what is seen, surer frames weighing more."""
    both = title + weight * other
    # Without words and sights there is no direction, and no division by nothing.
    unit: Vector = (both / (np.linalg.norm(both) or 1.0)).astype(np.float32)
    return unit
