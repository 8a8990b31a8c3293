"""One video in the perceive flow: from accepted to titled to framed, retried while encoders are away, until it is gone."""

import gc
import logging
import random
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from bytewax.operators import StatefulBatchLogic
from msgspec import Struct

from streams.clock import Clock
from streams.codec import encode, unpack_vector
from streams.events import LiveEnded, Perception, Takedown, Upload
from streams.features import VideoContent
from streams.flows.feature_io import FeatureItem, Forget, Readable
from streams.flows.kafka_io import Received, Send, dead_letter
from streams.flows.workers import Workers
from streams.ports import BadMedia, Features, MediaUnavailable, Perceiver, PerceptionUnavailable
from streams.settings import FlowSettings
from streams.state.snapshot import dump, load
from streams.topics import PERCEPTIONS, UPLOADS
from streams.tracing import UNTRACED, Tracer

log = logging.getLogger(__name__)

FromVideo: TypeAlias = FeatureItem | Send

# With waits that double up to a minute, this is about ten minutes of a host that does not answer.
MEDIA_TRIES, MEDIA_RETRY_MAX_MS = 15, 60_000
# How often a video looks whether its frames are done, or whether a worker is free. Shorter burns a core on a backlog.
LOOK_EVERY_MS = 20
QUEUE_LOOK_MS = 200
FIRST_RETRY_MS = 500


class Titled(Struct, frozen=True):
    """An upload event and the perception of its title; None where it is no upload, or the encoder is away."""

    received: Received
    perception: Perception | None


class VideoState(Struct):
    """What recovery brings back of one video."""

    upload: Upload | None = None
    model_version: str = ""
    stage: Literal["accepted", "title", "done", "failed", "gone"] = "accepted"
    partition: int = 0
    offset: int = 0
    trace: str | None = None
    due_at: int | None = None
    tries: int = 0
    touched_at: int = 0


class PerceiveLogic(StatefulBatchLogic[Titled, FromVideo, bytes]):
    """One video. The slow part runs on `workers`; this looks in on it, so that other videos' titles never wait."""

    def __init__(
        self,
        snapshot: bytes | None,
        perceiver: Perceiver,
        workers: Workers,
        features: Features,
        forget_media: Callable[[str], int],
        settings: FlowSettings,
        clock: Clock,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self.state = VideoState() if snapshot is None else load(VideoState, snapshot)
        self._perceiver = perceiver
        self._workers = workers
        self._features = features
        self._forget_media = forget_media
        self._settings = settings
        self._clock = clock
        self._tracer = tracer
        self._kept_ms = int(settings.video_kept_h * 3_600_000)
        self._running: Future[Perception] | None = None
        if self.state.due_at is not None:
            # A clock that was set back since the snapshot must not make it wait as long.
            longest_ms = int(1000 * max(settings.perceive_retry_max_s, settings.perceive_live_every_s))
            self.state.due_at = min(self.state.due_at, clock() + longest_ms)

    def on_batch(self, values: list[Titled]) -> tuple[Iterable[FromVideo], bool]:
        out: list[FromVideo] = []
        for value in values:
            self.state.touched_at = self._clock()
            match value.received.event:
                case Upload() as upload:
                    out += self._accept(upload, value)
                case LiveEnded() if self.state.upload is not None and self.state.upload.kind != "live":
                    log.warning("video %s is no live room, and can't end", self.state.upload.video_id)
                case LiveEnded() | Takedown() as ending:
                    out += self._end(ending)
        return out, StatefulBatchLogic.RETAIN

    def _accept(self, upload: Upload, value: Titled) -> list[FromVideo]:
        state = self.state
        if state.upload is not None and state.upload.author_id != upload.author_id:
            received, reason = value.received, f"video {upload.video_id} is another author's: use another video_id"
            return [_letter(upload, received.partition, received.offset, reason, received.received_at, received.trace)]
        if state.stage == "gone" or self._is_known(upload):
            return []
        self._running = None
        self.state = VideoState(
            upload=upload,
            model_version=self._perceiver.model_version,
            partition=value.received.partition,
            offset=value.received.offset,
            trace=value.received.trace,
            due_at=self._clock(),
            touched_at=state.touched_at,
        )
        return [] if value.perception is None else [*self._perceived(value.perception), Readable([value.received])]

    def _is_known(self, upload: Upload) -> bool:
        before = self.state.upload
        if before is None or self.state.stage == "failed" or self.state.model_version != self._perceiver.model_version:
            return False
        return (upload.media_uri, upload.title, upload.tags) == (before.media_uri, before.title, before.tags)

    def _perceived(self, perception: Perception) -> list[FromVideo]:
        state, upload = self.state, perception.video
        state.tries = 0
        if perception.stage == "title":
            state.stage = "title" if upload.media_uri else "done"
            state.due_at = self._clock() if upload.media_uri else None
        else:
            state.stage = "done"
            again = self._clock() + int(self._settings.perceive_live_every_s * 1000)
            state.due_at = again if upload.kind == "live" else None
        return [Send(PERCEPTIONS, upload.video_id, perception, state.trace), _content(perception)]

    def _end(self, ending: LiveEnded | Takedown) -> list[FromVideo]:
        video_id = ending.video_id
        known, shown = self.state.upload is not None, self.state.stage in ("title", "done")
        # Of what it was about nothing stays, only that it is gone: a late upload of it brings nothing back.
        self.state = VideoState(stage="gone", touched_at=self.state.touched_at)
        self._running = None

        def purge() -> dict[str, int]:
            erased = self._features.erase_video(video_id, VideoContent)
            own = {"perceptions topic": int(shown), "flow state: perceive": int(known)}
            return erased | own | {"media files": self._forget_media(video_id)}

        return [Send(PERCEPTIONS, video_id, None), Forget(ending.event_id, "video", video_id, purge)]

    def _leave(self) -> list[FromVideo]:
        """Take a video that no feed shows any more, for its age, out of the topics and the features."""
        upload = self.state.upload
        if upload is None or self.state.stage in ("failed", "gone"):
            return []

        def purge() -> dict[str, int]:
            self._features.erase_video(upload.video_id, VideoContent)
            # Nobody asked for it, so nobody waits for a proof.
            return {}

        return [
            Send(PERCEPTIONS, upload.video_id, None),
            Forget("expired", "video", upload.video_id, purge),
        ]

    def on_notify(self) -> tuple[Iterable[FromVideo], bool]:
        now = self._clock()
        if now >= self.state.touched_at + self._kept_ms and self.state.due_at is None:
            return self._leave(), StatefulBatchLogic.DISCARD
        if self._running is not None and self._running.done():
            running, self._running = self._running, None
            return self._finish(running), StatefulBatchLogic.RETAIN
        if self._running is None and self.state.due_at is not None and self.state.due_at <= now:
            self._start(now)
        return [], StatefulBatchLogic.RETAIN

    def _start(self, now: int) -> None:
        upload = self.state.upload
        assert upload is not None, "only an upload makes work due"
        if self.state.stage == "accepted":
            self._running = self._workers.try_submit(lambda: self._perceiver.titles([upload])[0])
        else:
            trace = self.state.trace
            self._running = self._workers.try_submit(lambda: self._frames(upload, trace))
        if self._running is None:
            # All of a backlog looking at the same instant would do nothing but look.
            self.state.due_at = now + random.randint(QUEUE_LOOK_MS // 2, QUEUE_LOOK_MS)

    def _frames(self, upload: Upload, trace: str | None) -> Perception:
        with self._tracer.start("perceive.frames", trace, user_id=upload.author_id):
            try:
                return self._perceiver.frames(upload)
            except PerceptionUnavailable:
                # The errors before this one hold each other, and their videos' frames, megabytes each: the collector counts
                # objects and not bytes, and would come for them after hours.
                gc.collect(1)
                raise

    def _finish(self, running: "Future[Perception]") -> list[FromVideo]:
        state, now = self.state, self._clock()
        try:
            return self._perceived(running.result())
        except PerceptionUnavailable as error:
            if isinstance(error, MediaUnavailable) and state.tries >= MEDIA_TRIES:
                return self._give_up(str(error), now)
            longest_ms = (
                MEDIA_RETRY_MAX_MS if isinstance(error, MediaUnavailable) else self._settings.perceive_retry_max_s * 1000
            )
            wait_ms = min(FIRST_RETRY_MS * 2**state.tries, int(longest_ms))
            # Once a video: in an outage they all wait, and try often.
            log.log(
                logging.DEBUG if state.tries else logging.WARNING, "%s waits: %s", state.upload and state.upload.video_id, error
            )
            state.tries, state.due_at = state.tries + 1, now + wait_ms
            return []
        except BadMedia as bad:
            if state.upload is not None and state.upload.kind == "live":
                # Its newest segment may be broken; the room is not, and was understood from an earlier one or its title.
                log.warning("live room %s: %s", state.upload.video_id, bad)
                state.due_at = now + int(self._settings.perceive_live_every_s * 1000)
                return []
            return self._give_up(str(bad), now)
        except Exception as error:
            # A fault of ours on this one video: it must not stop the others.
            log.exception("perceiving %s failed", state.upload and state.upload.video_id)
            return self._give_up(f"{type(error).__name__}: {error}", now)

    def _give_up(self, reason: str, now: int) -> list[FromVideo]:
        """Take a video that can't be played out of the feeds, and keep its upload as a dead letter."""
        state = self.state
        assert state.upload is not None
        state.stage, state.due_at = "failed", None
        letter = _letter(state.upload, state.partition, state.offset, reason, now, state.trace)
        return [letter, Send(PERCEPTIONS, state.upload.video_id, None)]

    def notify_at(self) -> datetime | None:
        state = self.state
        if self._running is not None:
            at = self._clock() + LOOK_EVERY_MS
        elif state.due_at is not None:
            at = state.due_at
        else:
            at = state.touched_at + self._kept_ms
        return datetime.fromtimestamp(at / 1000, UTC)

    def snapshot(self) -> bytes:
        return dump(self.state)


def _letter(upload: Upload, partition: int, offset: int, reason: str, failed_at: int, trace: str | None) -> Send:
    key = upload.video_id.encode()
    return dead_letter(UPLOADS, partition, offset, reason, encode(upload), key, "perceive", failed_at, trace)


def _content(perception: Perception) -> VideoContent:
    upload = perception.video
    return VideoContent(
        video_id=upload.video_id,
        as_of=perception.perceived_at,
        author_id=upload.author_id,
        stage=perception.stage,
        summary=perception.summary,
        topics=[topic.name for topic in perception.topics],
        embedding=unpack_vector(perception.embedding),
        unsafe=perception.safety.get("unsafe", 0.0),
        duration_ms=upload.duration_ms or 0,
    )
