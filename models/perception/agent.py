"""The Item Perception agent: the flows' `Perceiver`. A title is understood at once; frames after it, step by step.

Glance, key frames, perceive, read, listen, rewrite (VRAgent-R1, section 3.1): each step goes deeper, costs more, has a longest
time, and is recorded with what it took. What is not done in time is left out, and what the other steps understood stands.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.perception.duplicates import KnownVideos, fingerprints
from models.perception.encoders import Encoder, Sight
from models.perception.glance import is_sufficient
from models.perception.key_frames import key_frames
from models.perception.language import language_of
from models.perception.listen import heard
from models.perception.live import newest_part
from models.perception.media import Sample, local_copy, sample
from models.perception.perceive import caption, seen, tags
from models.perception.read import joined, lines
from models.perception.steps import Steps
from models.perception.topics import THRESHOLD, Topics, confidence
from models.perception.understanding import NotUnderstood, Rewrite, Understanding, View, unwritten, words
from models.settings import MediaSettings, StepSettings
from streams.codec import pack_vector
from streams.events import Perception, StepName, TopicScore, Upload
from streams.features import Vector
from streams.ports import BadMedia, Count, PerceptionUnavailable, uncounted

log = logging.getLogger(__name__)

# Part of every perception: what was perceived by another version is perceived again.
MODEL_VERSION = "minilm+effnet-lite2+yolov3-tiny+open-nsfw+ppocr4+smn-1"
# How much frames count beside a title of weight 1. Of 21 labelled clips, each finds its label (mean reciprocal rank) by a dull
# title alone at .17, with frames at this weight at .55; by a telling title at .82 and .91. At 1 it is .51 and .94, at 2 .60 and
# .89.
FRAMES_WEIGHT = 1.5
LONGEST_NAME = 64
DEPTH: tuple[StepName, ...] = ("glance", "key_frames", "perceive", "read", "listen", "rewrite")
# How much what stands in frames counts beside what they show: as half a title, as it may be a shop's sign.
READ_WEIGHT = 0.33
# How much a model's summary counts beside both.
SUMMARY_WEIGHT = 0.5


@dataclass(frozen=True)
class Look:
    """What frames `rows` of a sample show."""

    rows: tuple[int, ...]
    sight: Sight

    @cached_property
    def shown(self) -> tuple[TopicScore, ...]:
        """Return it in names."""
        return tags(self.sight)


class PerceptionAgent:
    """Understands videos by their words and their frames. Safe to share between threads."""

    def __init__(
        self,
        encoder: Encoder,
        understanding: Understanding,
        media: MediaSettings,
        *,
        known: KnownVideos | None = None,
        steps: StepSettings | None = None,
        rewrite_within_s: float = 8.0,
        count: Count = uncounted,
        deepest: StepName = "rewrite",
        spares: bool = True,
    ) -> None:
        """`known` are the videos that a new one may repeat.

        `deepest` is the last step taken, and with `spares` a glance that suffices is the last look: both are for evaluation.
        """
        self._encoder = encoder
        self._understanding = understanding
        self._media = media
        self._known = known
        self._longest = steps or StepSettings()
        self._count = count
        self._rewrite_within_s = rewrite_within_s
        self._deepest = DEPTH.index(deepest)
        self._spares = spares
        self._topics = Topics(encoder)
        # The end of a name tells models apart: a path may be longer than a version.
        self.model_version = f"{MODEL_VERSION}+{understanding.name[-LONGEST_NAME:]}"

    def titles(self, uploads: Sequence[Upload]) -> list[Perception]:
        """Return one perception of stage "title" for each upload, in order. Raises PerceptionUnavailable."""
        began = time.perf_counter()
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
                took_ms=round((time.perf_counter() - began) * 1000),
                language=_language(upload),
            )
            for upload, embedding in zip(uploads, embeddings, strict=True)
        ]

    def frames(self, upload: Upload) -> Perception:
        """Return a perception of stage "frames": of a video by frames of its scenes, of a live room by its last seconds.

        Raises:
            BadMedia: no media, or none that may be read or can be decoded.
            PerceptionUnavailable: the encoders can't be reached now.
        """
        steps = Steps(upload.video_id, count=self._count)
        found = self.sample(upload)
        title = self._title(upload)
        look = self._look(upload, title, found, steps)
        on_screen = self._read(found, look, steps)
        sound = self._listen(found, steps)
        rewrite = self._rewrite(View(upload, look.shown, on_screen, sound, found.wholes[list(look.rows)]), steps)
        embedding = blend(title, self._shown(look, on_screen))
        topics = self._topics.of(embedding, upload.tags)
        # A room is like itself, every half a minute.
        prints = b"" if upload.kind == "live" else fingerprints(found.middles)
        if rewrite.topics and rewrite.summary:
            topics = self._grounded(rewrite, embedding, topics)
            (said,) = self._encoder.texts([rewrite.summary])
            embedding = blend(embedding, said, weight=SUMMARY_WEIGHT)
        # Of all frames, whatever sufficed to say what it is: a harmless cover is how the rest would be hidden.
        unsafe = float(self._encoder.unsafe(found.middles).max())
        return Perception(
            video=upload,
            stage="frames",
            summary=rewrite.summary,
            topics=topics,
            embedding=pack_vector(embedding),
            model_version=self.model_version,
            perceived_at=time.time_ns() // 1_000_000,
            took_ms=steps.took_ms(),
            steps=tuple(steps.done),
            shows=look.shown,
            on_screen=on_screen,
            sound=sound,
            hook=rewrite.hook,
            mood=rewrite.mood,
            audience=rewrite.audience,
            language=_language(upload, rewrite.language, joined(on_screen)),
            safety={"unsafe": round(unsafe, 3)},
            motion=found.motion,
            brightness=found.brightness,
            fingerprints=prints,
            duplicate_of=() if self._known is None else self._known.earlier(upload, prints),
        )

    def _goes_to(self, step: StepName) -> bool:
        return DEPTH.index(step) <= self._deepest

    def _look(self, upload: Upload, title: Vector, found: Sample, steps: Steps) -> Look:
        """Glance, and where that does not suffice, find the key frames and perceive them."""
        rows = [0]
        with steps.step("glance"):
            sight = self._encoder.see(found.middles[rows], found.wholes[rows])
            # A room moves on from whatever its first frame showed.
            enough = self._spares and upload.kind == "video" and is_sufficient(title, sight)
        if enough or not self._goes_to("key_frames") or len(found.middles) == 1:
            return Look(tuple(rows), sight)
        keys: list[int] = []
        with steps.step("key_frames"):
            keys = key_frames(self._encoder.frames(found.middles, within_s=self._longest.key_frames_s), title)
        if keys:
            with steps.step("perceive"):
                sight = self._encoder.see(found.middles[keys], found.wholes[keys], within_s=self._longest.perceive_s)
                rows = keys
        return Look(tuple(rows), sight)

    def _read(self, found: Sample, look: Look, steps: Steps) -> tuple[str, ...]:
        if not self._goes_to("read"):
            return ()
        try:
            with steps.step("read"):
                return lines(self._encoder.read(found.wholes[list(look.rows)], within_s=self._longest.read_s))
        except PerceptionUnavailable as error:
            # A Triton of one's own may have no such model. One that is away altogether fails what is needed below.
            log.warning("video %s: its text is not read: %s", steps.video_id, error)
        return ()

    def _listen(self, found: Sample, steps: Steps) -> dict[str, float]:
        if not self._goes_to("listen") or not len(found.sound):
            return {}
        try:
            with steps.step("listen"):
                return heard(self._encoder.listen(found.sound, within_s=self._longest.listen_s))
        except PerceptionUnavailable as error:
            log.warning("video %s: its sound is not heard: %s", steps.video_id, error)
        return {}

    def _shown(self, look: Look, on_screen: tuple[str, ...]) -> Vector:
        """Return what is seen and read as a vector, (384,), in the space of texts; unsure is short."""
        named, read = self._encoder.texts([caption(look.shown), joined(on_screen)])
        vector = seen(look.sight, named if look.shown else None)
        return vector + READ_WEIGHT * read if on_screen else vector

    def sample(self, upload: Upload) -> Sample:
        """Return frames and sound of an upload's media. Raises BadMedia."""
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

    def _rewrite(self, view: View, steps: Steps) -> Rewrite:
        if not self._goes_to("rewrite"):
            return unwritten(view.upload)
        try:
            with steps.step("rewrite"):
                return self._understanding.rewrite(view, within_s=self._rewrite_within_s)
        except NotUnderstood as error:
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


def _language(upload: Upload, rewritten: str = "und", on_screen: str = "") -> str:
    """Return a video's language: as its author says, as a model says, or as its words are."""
    said = next((tag for tag in (upload.language, rewritten) if tag != "und"), None)
    return said or language_of(f"{words(upload)} {on_screen}".strip())
