"""One video on its way: from accepted to titled to framed, through outages, to its end."""

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from streams.codec import pack_vector
from streams.events import DeadLetter, LiveEnded, Perception, Takedown, Upload
from streams.flows.feature_io import Forget
from streams.flows.kafka_io import Send
from streams.flows.perceive_video import PerceiveLogic, Titled
from streams.flows.workers import Workers
from streams.ports import BadMedia, MediaUnavailable, PerceptionUnavailable
from streams.settings import FlowSettings
from streams.topics import PERCEPTIONS, UPLOADS
from tests.streams.world import NOW, FeaturesInMemory, received, unit, upload

SETTINGS = FlowSettings()


class Perceiver:
    """The port `Perceiver`: fails as told, then perceives; `hold` keeps frames from being done."""

    model_version = "test-1"

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.hold = threading.Event()
        self.hold.set()

    def titles(self, uploads: Iterable[Upload]) -> list[Perception]:
        return [self._perceive(event, "title") for event in uploads]

    def frames(self, event: Upload) -> Perception:
        assert self.hold.wait(10)
        return self._perceive(event, "frames")

    def _perceive(self, event: Upload, stage: Any) -> Perception:
        if self.failures:
            raise self.failures.pop(0)
        return Perception(
            video=event, stage=stage, summary="", topics=(), embedding=pack_vector(unit(1)), model_version=self.model_version,
            perceived_at=NOW,
        )  # fmt: skip


class Video:
    """A video's logic with a clock that jumps to whenever it wants to be woken."""

    def __init__(self, perceiver: Perceiver, workers: Workers | None = None) -> None:
        self.perceiver, self.now = perceiver, NOW
        self.workers = workers or Workers(1)
        self.forgotten: list[str] = []
        self.logic = self.make(None)

    def make(self, snapshot: bytes | None) -> PerceiveLogic:
        def forget_media(video_id: str) -> int:
            self.forgotten.append(video_id)
            return 1

        return PerceiveLogic(
            snapshot, self.perceiver, self.workers, FeaturesInMemory(), forget_media, SETTINGS, lambda: self.now
        )

    def crash(self) -> None:
        self.workers = Workers(1)
        self.logic = self.make(self.logic.snapshot())

    def give(self, event: Any, *, titled: bool = True) -> list[Any]:
        perception = self.perceiver.titles([event])[0] if titled and isinstance(event, Upload) else None
        return list(self.logic.on_batch([Titled(received(event), perception)])[0])

    def wake(self) -> list[Any]:
        at = self.logic.notify_at()
        assert at is not None
        self.now = max(self.now, int(at.timestamp() * 1000))
        running = self.logic._running
        if running is not None and self.perceiver.hold.is_set():
            running.exception(10)
        return list(self.logic.on_notify()[0])

    def until_something(self, tries: int = 20) -> list[Any]:
        for _ in range(tries):
            if out := self.wake():
                return out
        raise AssertionError(f"nothing came of {tries} wakes")


def stages(out: list[Any]) -> list[str]:
    return [item.event.stage for item in out if isinstance(item, Send) and isinstance(item.event, Perception)]


def clip(**more: Any) -> Upload:
    return upload(1, media_uri="file:///clip.mp4", **more)


def test_a_title_is_perceived_at_once_and_the_frames_after_it() -> None:
    video = Video(Perceiver())
    assert stages(video.give(clip())) == ["title"]
    assert stages(video.until_something()) == ["frames"]


def test_a_video_without_media_is_done_with_its_title() -> None:
    video = Video(Perceiver())
    assert stages(video.give(upload(1))) == ["title"]
    assert video.logic.state.due_at is None


def test_the_same_upload_again_is_skipped_and_a_changed_one_is_not() -> None:
    video = Video(Perceiver())
    video.give(clip())
    assert video.give(clip(event_id="again")) == []
    assert stages(video.give(clip(title="Another title"))) == ["title"]


def test_frames_wait_while_the_encoders_are_away_longer_each_time() -> None:
    away = [PerceptionUnavailable("away")] * 3
    video = Video(Perceiver())
    video.give(clip())
    video.perceiver.failures = list(away)
    assert stages(video.until_something()) == ["frames"]
    assert video.now - NOW >= 500 + 1000 + 2000


def test_a_title_that_could_not_be_perceived_is_tried_again() -> None:
    video = Video(Perceiver())
    assert video.give(clip(), titled=False) == []
    assert stages(video.until_something()) == ["title"]
    assert stages(video.until_something()) == ["frames"]


@pytest.mark.parametrize("steps", [1, 2])
def test_a_crash_on_the_way_loses_nothing(steps: int) -> None:
    video = Video(Perceiver())
    video.give(clip())
    for _ in range(steps - 1):
        video.wake()
    video.crash()
    assert stages(video.until_something()) == ["frames"]


def test_bad_media_leaves_the_feed_and_becomes_a_dead_letter_that_can_be_replayed() -> None:
    video = Video(Perceiver())
    video.give(clip())
    video.perceiver.failures = [BadMedia("expected a video, got a JPEG")]
    letter, gone = video.until_something()
    assert isinstance(letter.event, DeadLetter)
    assert (letter.event.origin, letter.event.reason) == (UPLOADS.name, "expected a video, got a JPEG")
    assert (gone.topic, gone.event) == (PERCEPTIONS, None)
    assert stages(video.give(clip())) == ["title"]


def test_the_id_of_another_authors_video_is_refused_and_the_video_stays() -> None:
    video = Video(Perceiver())
    video.give(clip())
    [letter] = video.give(clip(event_id="theirs", author_id="eve", title="Mine now"))
    assert isinstance(letter.event, DeadLetter)
    assert letter.event.reason == "video v1 is another author's: use another video_id"
    assert stages(video.until_something()) == ["frames"]
    assert video.logic.state.upload is not None
    assert video.logic.state.upload.author_id == "bob"


def test_a_clock_set_back_between_two_runs_delays_a_video_by_a_minute_at_most() -> None:
    video = Video(Perceiver())
    video.give(clip())
    video.now -= 3_600_000
    video.crash()
    due_at = video.logic.state.due_at
    assert due_at is not None
    assert due_at <= video.now + 60_000


def test_a_host_that_does_not_answer_is_asked_again_for_minutes_and_then_given_up() -> None:
    video = Video(Perceiver())
    video.give(clip())
    video.perceiver.failures = [MediaUnavailable("no route to host")] * 3
    assert stages(video.until_something()) == ["frames"]
    video.give(clip(title="Again"))
    video.perceiver.failures = [MediaUnavailable("no route to host")] * 100
    assert video.until_something(tries=100)[0].event.reason == "no route to host"
    assert video.now - NOW > 5 * 60_000


def test_a_live_room_outlives_a_broken_segment() -> None:
    video = Video(Perceiver())
    video.give(clip(kind="live"))
    video.perceiver.failures = [BadMedia("a broken segment")]
    assert stages(video.until_something()) == ["frames"]


def test_a_video_that_is_no_live_room_can_not_be_ended() -> None:
    video = Video(Perceiver())
    video.give(clip())
    assert video.give(LiveEnded(event_id="x", video_id="v1", at=NOW)) == []
    assert stages(video.until_something()) == ["frames"]


def test_the_files_of_a_room_that_ended_go_with_it() -> None:
    video = Video(Perceiver())
    video.give(clip(kind="live"))
    out = video.give(LiveEnded(event_id="x", video_id="v1", at=NOW))
    [forget] = [item for item in out if isinstance(item, Forget)]
    assert forget.purge()["media files"] == 1
    assert video.forgotten == ["v1"]


def test_a_fault_of_ours_costs_that_video_alone() -> None:
    video = Video(Perceiver())
    video.give(clip())
    video.perceiver.failures = [ZeroDivisionError("oops")]
    assert video.until_something()[0].event.reason == "ZeroDivisionError: oops"


def test_a_takedown_wins_over_frames_that_are_still_being_perceived() -> None:
    video = Video(Perceiver())
    video.give(clip())
    video.perceiver.hold.clear()
    video.wake()
    out = video.give(Takedown(event_id="t", video_id="v1", at=NOW))
    assert [item.event for item in out if isinstance(item, Send)] == [None]
    [forget] = [item for item in out if isinstance(item, Forget)]
    assert forget.purge().items() >= {"media files": 1, "perceptions topic": 1, "flow state: perceive": 1}.items()
    assert video.logic.state.upload is None
    assert video.forgotten == ["v1"]
    video.perceiver.hold.set()
    assert [item for _ in range(3) for item in video.wake()] == []
    assert video.give(clip(event_id="late")) == []


def test_a_takedown_of_a_video_that_never_came_proves_that_there_was_nothing() -> None:
    video = Video(Perceiver())
    [_, forget] = video.give(Takedown(event_id="t", video_id="v1", at=NOW))
    assert forget.purge().items() >= {"perceptions topic": 0, "flow state: perceive": 0}.items()


def test_a_live_room_is_perceived_again_until_it_ends() -> None:
    video = Video(Perceiver())
    video.give(clip(kind="live"))
    assert stages(video.until_something()) == ["frames"]
    before = video.now
    assert stages(video.until_something()) == ["frames"]
    assert video.now - before >= SETTINGS.perceive_live_every_s * 1000
    out = video.give(LiveEnded(event_id="x", video_id="v1", at=video.now))
    assert [item.event for item in out if isinstance(item, Send)] == [None]
    assert video.logic.state.due_at is None


def test_a_video_too_old_for_any_feed_leaves_the_topics_and_the_features() -> None:
    video = Video(Perceiver())
    video.give(upload(1))
    sends = [item for item in video.until_something() if isinstance(item, Send)]
    assert video.now - NOW >= SETTINGS.video_kept_h * 3_600_000
    assert [(send.topic, send.key, send.event) for send in sends] == [(PERCEPTIONS, "v1", None)]
    assert video.logic.on_notify()[1]


def test_a_backlog_waits_for_a_free_worker() -> None:
    workers, busy = Workers(1), Video(Perceiver())
    busy.workers = workers
    busy.logic = busy.make(None)
    busy.perceiver.hold.clear()
    busy.give(clip())
    busy.wake()
    waiting = Video(Perceiver(), workers)
    waiting.give(clip())
    assert waiting.wake() == []
    assert waiting.logic._running is None
    busy.perceiver.hold.set()
    assert stages(busy.until_something()) == ["frames"]
    assert stages(waiting.until_something()) == ["frames"]
