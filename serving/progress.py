"""The way of each new video, from accepted to its first impression: remembered for the last that came, told as it goes."""

import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

from serving.catalogue import Card
from serving.sse import Fanout
from streams.events import DeadLetter, LiveEnded, Perception, Takedown, Upload, VideoStats
from streams.follower import Followed
from streams.topics import UPLOADS

# Videos whose way is known step by step, 1 kB each; of an older one only what the catalogue knows is told.
REMEMBERED = 5_000

StepName = Literal["accepted", "title", "frames", "first_impression", "failed", "gone"]
_ENDS: frozenset[StepName] = frozenset({"failed", "gone"})


class Step(Struct, frozen=True, kw_only=True):
    """One step of a video's way: when it was reached (Unix ms), and how long after the upload was accepted."""

    video_id: str
    step: StepName
    at: int
    since_accepted_ms: int
    detail: str = ""


@dataclass
class _Way:
    upload: Upload
    accepted_at: int
    steps: dict[StepName, Step] = field(default_factory=dict)

    @property
    def perceived(self) -> StepName:
        """The step after which there is nothing more to understand."""
        return "title" if self.upload.media_uri is None else "frames"

    def is_of(self, upload: Upload) -> bool:
        """Tell whether `upload` is the one on this way: the same again is not perceived again."""
        before = self.upload
        same = (upload.media_uri, upload.title, upload.tags) == (before.media_uri, before.title, before.tags)
        return upload.event_id == before.event_id or (same and "failed" not in self.steps)


class Progress:
    """The ways of the videos that came last. Followers' threads and requests write, requests read."""

    def __init__(self) -> None:
        self._ways: OrderedDict[str, _Way] = OrderedDict()
        self._writing = threading.Lock()
        self._reached: Fanout[Step] = Fanout()

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._ways

    def accepted(self, upload: Upload, *, at: int) -> bool:
        """Begin the way of `upload`, which the broker had at `at` (Unix ms); return False where a later one has begun."""
        with self._writing:
            known = self._ways.get(upload.video_id)
            if known is not None and known.is_of(upload):
                return True
            if known is not None and upload.uploaded_at < known.upload.uploaded_at:
                return False
            self._ways[upload.video_id] = _Way(upload, at)
            self._ways.move_to_end(upload.video_id)
            if len(self._ways) > REMEMBERED:
                self._ways.popitem(last=False)
        self._reach(upload.video_id, "accepted", at)
        return True

    def follow(self, batch: Sequence[Followed]) -> None:
        """Take over uploads, perceptions, statistics and dead letters, as a Follower hands them over."""
        for followed in batch:
            match followed.event:
                case Upload() as upload:
                    self.accepted(upload, at=followed.appended_at)
                case Perception() as perception:
                    # At a start perceptions may be read before their uploads.
                    if self.accepted(perception.video, at=perception.video.uploaded_at):
                        topics = ", ".join(topic.name for topic in perception.topics)
                        self._reach(perception.video_id, perception.stage, perception.perceived_at, topics)
                case VideoStats(total_impressions=shown) as stats if shown > 0:
                    self._reach(stats.video_id, "first_impression", followed.appended_at)
                case Takedown(video_id=video_id):
                    self._reach(video_id, "gone", followed.appended_at, "taken down")
                case LiveEnded(video_id=video_id):
                    self._reach(video_id, "gone", followed.appended_at, "the live room ended")
                case DeadLetter(origin=UPLOADS.name, key=bytes(key), replayed_at=None) as letter:
                    self._reach(key.decode("utf-8", "replace"), "failed", letter.failed_at, letter.reason[:500])

    async def steps(self, video_id: str) -> AsyncGenerator[Step, None]:
        """Yield the steps reached so far, then each that follows, until the way has ended."""
        with self._reached.listening(lambda step: step.video_id == video_id) as coming:
            told = self._told(video_id)
            for step in told:
                yield step
            reached = {step.step for step in told}
            while not self._is_end(video_id, reached):
                step = await anext(coming)
                # What was reached between listening and looking was told already.
                if step not in told:
                    yield step
                    reached = {step.step} if step.step == "accepted" else {*reached, step.step}

    def _told(self, video_id: str) -> list[Step]:
        with self._writing:
            way = self._ways.get(video_id)
            return [] if way is None else sorted(way.steps.values(), key=lambda step: step.at)

    def _is_end(self, video_id: str, reached: set[StepName]) -> bool:
        with self._writing:
            way = self._ways.get(video_id)
        if way is None:
            # Just gone, which is still to be told, or never known here.
            return not reached or "gone" in reached
        return not _ENDS.isdisjoint(reached) or {"first_impression", way.perceived} <= reached

    def _reach(self, video_id: str, name: StepName, at: int, detail: str = "") -> None:
        with self._writing:
            way = self._ways.get(video_id)
            # A room is perceived again and again, and a letter of an upload before this one says nothing of it.
            if way is None or name in way.steps or (name == "failed" and at < way.accepted_at):
                return
            since = max(0, at - way.accepted_at)
            step = way.steps[name] = Step(video_id=video_id, step=name, at=at, since_accepted_ms=since, detail=detail)
            if name == "gone":
                # Of what was taken down nothing stays here, its title least of all.
                del self._ways[video_id]
        self._reached.publish(step)


def known_steps(card: Card) -> list[Step]:
    """Return what the catalogue knows of the way of a video that came long ago."""
    video = card.video
    stage: StepName = "title" if card.stage == "title" else "frames"
    times: list[tuple[StepName, int]] = [("accepted", video.uploaded_at), (stage, card.perceived_at)]
    return [
        Step(video_id=video.video_id, step=name, at=at, since_accepted_ms=max(0, at - video.uploaded_at)) for name, at in times
    ]
