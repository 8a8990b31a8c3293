"""profile: what viewers do becomes what is known of them, and of the videos they did it to.

interactions → by viewer: duplicates dropped, history, session, interests → Feast
             → by video: decayed engagement → Feast and `video-stats`
takedowns    → by video: all of it gone
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TypeAlias

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.operators import StatefulBatchLogic
from msgspec.structs import replace

from streams.clock import Clock, now_ms
from streams.codec import MAX_AGE_MS
from streams.events import Erasure, Interaction, LiveEnded, Takedown
from streams.features import FeatureRow, VideoEngagement
from streams.flows.feature_io import FeatureItem, Forget, Readable, write_features
from streams.flows.kafka_io import Keyed, Received, Send, events_of, publish
from streams.flows.split import split
from streams.heartbeat import Pulse
from streams.kafka import EventProducer, KafkaSettings
from streams.ports import Features, Videos
from streams.state.engagement import Engaged, VideoEngagementState
from streams.state.snapshot import dump, load
from streams.state.viewer import Viewer
from streams.topics import INTERACTIONS, UPLOADS, VIDEO_STATS
from streams.trace_context import is_sampled
from streams.tracing import UNTRACED, Tracer, precise_now

FromViewer: TypeAlias = FeatureItem | Engaged
FromVideo: TypeAlias = FeatureRow | Send | Forget

# A video's statistics go when nobody has touched it for so long: its events may be a week old, and count half after a day.
UNTOUCHED_MS = MAX_AGE_MS + 86_400_000


class ViewerLogic(StatefulBatchLogic[Received, FromViewer, bytes]):
    """One viewer in the flow. A batch makes one row a view, however many events it holds."""

    def __init__(self, snapshot: bytes | None, videos: Videos, features: Features, tracer: Tracer = UNTRACED) -> None:
        self.viewer = Viewer() if snapshot is None else load(Viewer, snapshot)
        self._videos = videos
        self._features = features
        self._tracer = tracer

    def on_batch(self, values: list[Received]) -> tuple[Iterable[FromViewer], bool]:
        traced = [value for value in values if is_sampled(value.trace)]
        taken_at = precise_now() if traced else 0.0
        out: list[FromViewer] = []
        waiting: list[Interaction] = []
        for value in values:
            match value.event:
                case Interaction() as interaction:
                    waiting.append(interaction)
                case Erasure() as erasure:
                    # What came before it in this batch counts for the videos, and for nobody.
                    out += self.viewer.apply(waiting, self._videos, value.received_at)[1]
                    out.append(self._forget(erasure))
                    waiting, self.viewer = [], Viewer()
        new, engaged = self.viewer.apply(waiting, self._videos, values[-1].received_at)
        if new:
            out += [replace(one, trace=traced[-1].trace) for one in engaged] if traced else engaged
            out += self.viewer.rows(waiting[0].user_id)
            out.append(Readable(values, self._trace(traced, taken_at) if traced else None))
        return out, not self.viewer.counts

    def _trace(self, traced: list[Received], taken_at: float) -> Callable[[], None]:
        """Record that these events were read and counted, and return what records that they are written."""
        ready_at = precise_now()
        # One request brings several events of one trace.
        causes = {value.trace: value for value in traced}.values()
        for value in causes:
            user_id = value.event.user_id
            self._tracer.record("profile.read", value.trace, started_at=value.received_at, ended_at=taken_at, user_id=user_id)
            self._tracer.record("profile.update", value.trace, started_at=taken_at, ended_at=ready_at, user_id=user_id)

        def written() -> None:
            written_at = precise_now()
            for value in causes:
                self._tracer.record(
                    "profile.write", value.trace, started_at=ready_at, ended_at=written_at, user_id=value.event.user_id
                )

        return written

    def _forget(self, erasure: Erasure) -> Forget:
        kept = int(bool(self.viewer.counts))

        def purge() -> dict[str, int]:
            return self._features.erase_user(erasure.user_id) | {"flow state: profile": kept}

        return Forget(erasure.event_id, "user", erasure.user_id, purge)

    def snapshot(self) -> bytes:
        return dump(self.viewer)


class VideoLogic(StatefulBatchLogic[Engaged | LiveEnded | Takedown, FromVideo, bytes]):
    """One video's engagement in the flow. A video that was taken out is counted no more."""

    def __init__(self, snapshot: bytes | None, videos: Videos, features: Features, clock: Clock) -> None:
        self.state = VideoEngagementState() if snapshot is None else load(VideoEngagementState, snapshot)
        self._videos = videos
        self._features = features
        self._clock = clock

    def on_batch(self, values: list[Engaged | LiveEnded | Takedown]) -> tuple[Iterable[FromVideo], bool]:
        video_id = values[0].video_id
        self.state.video_id = video_id
        engaged, out = [], []
        for value in values:
            if isinstance(value, Engaged):
                engaged.append(value)
            elif isinstance(value, Takedown) or self._is_live(video_id) or self._videos.is_gone(video_id):
                # What came before it in this batch goes with all that was counted.
                out += self._end(value.event_id, known=bool(self.state.counts or engaged))
                engaged = []
        if self._videos.is_gone(video_id) and not self.state.gone:
            # Its end came another way, an ended room that this flow did not know to be one.
            out += self._end("expired", known=bool(self.state.counts))
        if engaged and not self.state.gone:
            out += self._count(engaged)
        return out, StatefulBatchLogic.RETAIN

    def _count(self, engaged: list[Engaged]) -> list[FromVideo]:
        for value in engaged:
            self.state.apply(value)
        stats = self.state.stats(self.state.video_id)
        row = VideoEngagement(**{name: getattr(stats, name) for name in VideoEngagement.__struct_fields__})
        return [row, Send(VIDEO_STATS, self.state.video_id, stats, engaged[-1].trace)]

    def _is_live(self, video_id: str) -> bool:
        video = self._videos.get(video_id)
        return video is not None and video.kind == "live"

    def _end(self, cause: str, *, known: bool) -> list[FromVideo]:
        """Let go of a video that was taken out, and remember that it was: late events about it count for nothing."""
        video_id = self.state.video_id
        self.state = VideoEngagementState(video_id=video_id, newest_at=self._clock(), gone=True)

        def purge() -> dict[str, int]:
            erased = self._features.erase_video(video_id, VideoEngagement)
            if cause == "expired":
                # Nobody asked for it, so nobody waits for a proof.
                return {}
            return erased | {"video-stats topic": int(known), "flow state: profile": int(known)}

        return [Send(VIDEO_STATS, video_id, None), Forget(cause, "video", video_id, purge)]

    def on_notify(self) -> tuple[Iterable[FromVideo], bool]:
        if self._clock() < self.state.newest_at + UNTOUCHED_MS:
            return [], StatefulBatchLogic.RETAIN
        return self._leave(), StatefulBatchLogic.DISCARD

    def _leave(self) -> list[FromVideo]:
        """Let go of a video that nobody has touched for days; perceive does so with what it is about."""
        return [] if self.state.gone else self._end("expired", known=True)

    def notify_at(self) -> datetime:
        return datetime.fromtimestamp((self.state.newest_at + UNTOUCHED_MS) / 1000, UTC)

    def snapshot(self) -> bytes:
        return dump(self.state)


def graph(
    interactions: Stream[Keyed],
    uploads: Stream[Keyed],
    *,
    videos: Videos,
    features: Features,
    tracer: Tracer = UNTRACED,
    clock: Clock = now_ms,
) -> tuple[Stream[FeatureItem], Stream[tuple[str, Send]]]:
    """Return the feature rows, and the videos' statistics, that come of interactions and of videos' ends."""
    by_viewer = op.stateful_batch("viewer", interactions, lambda snapshot: ViewerLogic(snapshot, videos, features, tracer))
    counted, viewer_rows = split("counted", op.key_rm("of-viewer", by_viewer), Engaged)
    engaged = op.key_on("by-video", counted, lambda engaged: engaged.video_id)
    ends = op.filter_map("ends", uploads, _end_of)
    by_video = op.stateful_batch(
        "video", op.merge("videos", engaged, ends), lambda snapshot: VideoLogic(snapshot, videos, features, clock)
    )
    stats, video_rows = split("stats", op.key_rm("of-video", by_video), Send)
    return op.merge("rows", viewer_rows, video_rows), op.key_on("stats-by-video", stats, lambda send: send.key)


def _end_of(keyed: Keyed) -> tuple[str, LiveEnded | Takedown] | None:
    key, received = keyed
    return (key, received.event) if isinstance(received.event, LiveEnded | Takedown) else None


def build(
    kafka: KafkaSettings,
    *,
    videos: Videos,
    features: Features,
    producer: EventProducer,
    pulse: Pulse,
    tracer: Tracer = UNTRACED,
) -> Dataflow:
    """Return the dataflow. `producer` should be a patient one."""
    flow = Dataflow("profile")
    interactions, dead_letters = events_of(flow, kafka, INTERACTIONS, pulse)
    # One bad event is one dead letter: perceive makes those of uploads.
    uploads, _ = events_of(flow, kafka, UPLOADS, pulse)
    rows, stats = graph(interactions, uploads, videos=videos, features=features, tracer=tracer)
    write_features("features", rows, features, producer, pulse)
    publish("publish", [stats, dead_letters], producer, pulse)
    return flow
