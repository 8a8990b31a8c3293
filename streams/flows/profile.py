"""profile: what viewers do becomes what is known of them, and of the videos they did it to.

interactions → by viewer: duplicates dropped, history, session, interests → Feast
             → by video: decayed engagement → Feast and `video-stats`
"""

from collections.abc import Iterable
from typing import TypeAlias

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.operators import StatefulBatchLogic

from streams.events import Erasure, Interaction
from streams.features import FeatureRow, VideoEngagement
from streams.flows.feature_io import FeatureItem, Forget, write_features
from streams.flows.kafka_io import Keyed, Received, Send, events_of, publish
from streams.flows.split import split
from streams.kafka import EventProducer, KafkaSettings
from streams.ports import Features, Videos
from streams.state.engagement import Engaged, VideoEngagementState
from streams.state.snapshot import dump, load
from streams.state.viewer import Viewer
from streams.topics import INTERACTIONS, VIDEO_STATS

FromViewer: TypeAlias = FeatureItem | Engaged
FromVideo: TypeAlias = FeatureRow | Send


class ViewerLogic(StatefulBatchLogic[Received, FromViewer, bytes]):
    """One viewer in the flow. A batch makes one row a view, however many events it holds."""

    def __init__(self, snapshot: bytes | None, videos: Videos, features: Features) -> None:
        self.viewer = Viewer() if snapshot is None else load(Viewer, snapshot)
        self._videos = videos
        self._features = features

    def on_batch(self, values: list[Received]) -> tuple[Iterable[FromViewer], bool]:
        out: list[FromViewer] = []
        waiting: list[Interaction] = []
        for value in values:
            match value.event:
                case Interaction() as interaction:
                    waiting.append(interaction)
                case Erasure() as erasure:
                    # What came before it in this batch counts for the videos, and for nobody.
                    out += self.viewer.apply(waiting, self._videos)
                    out.append(self._forget(erasure))
                    waiting, self.viewer = [], Viewer()
        engaged = self.viewer.apply(waiting, self._videos)
        if engaged:
            out += engaged
            out += self.viewer.rows(waiting[0].user_id)
        return out, not self.viewer.counts

    def _forget(self, erasure: Erasure) -> Forget:
        kept = int(bool(self.viewer.counts))

        def purge() -> dict[str, int]:
            return self._features.erase_user(erasure.user_id) | {"flow state: profile": kept}

        return Forget(erasure.event_id, "user", erasure.user_id, purge)

    def snapshot(self) -> bytes:
        return dump(self.viewer)


class VideoLogic(StatefulBatchLogic[Engaged, FromVideo, bytes]):
    """One video's engagement in the flow. A video that was taken out is counted no more."""

    def __init__(self, snapshot: bytes | None, videos: Videos) -> None:
        self.state = VideoEngagementState() if snapshot is None else load(VideoEngagementState, snapshot)
        self._videos = videos

    def on_batch(self, values: list[Engaged]) -> tuple[Iterable[FromVideo], bool]:
        video_id = values[0].video_id
        if self._videos.is_gone(video_id):
            return [], StatefulBatchLogic.DISCARD
        for value in values:
            self.state.apply(value)
        stats = self.state.stats(video_id)
        row = VideoEngagement(**{name: getattr(stats, name) for name in VideoEngagement.__struct_fields__})
        return [row, Send(VIDEO_STATS, video_id, stats)], StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes:
        return dump(self.state)


def graph(
    interactions: Stream[Keyed], *, videos: Videos, features: Features
) -> tuple[Stream[FeatureItem], Stream[tuple[str, Send]]]:
    """Return the feature rows, and the videos' statistics, that come of interactions."""
    by_viewer = op.stateful_batch("viewer", interactions, lambda snapshot: ViewerLogic(snapshot, videos, features))
    counted, viewer_rows = split("counted", op.key_rm("of-viewer", by_viewer), Engaged)
    engaged = op.key_on("by-video", counted, lambda engaged: engaged.video_id)
    by_video = op.stateful_batch("video", engaged, lambda snapshot: VideoLogic(snapshot, videos))
    stats, video_rows = split("stats", op.key_rm("of-video", by_video), Send)
    return op.merge("rows", viewer_rows, video_rows), op.key_on("stats-by-video", stats, lambda send: send.key)


def build(kafka: KafkaSettings, *, videos: Videos, features: Features, producer: EventProducer) -> Dataflow:
    """Return the dataflow. `producer` should be a patient one."""
    flow = Dataflow("profile")
    interactions, dead_letters = events_of(flow, kafka, INTERACTIONS)
    rows, stats = graph(interactions, videos=videos, features=features)
    write_features("features", rows, features, producer)
    publish("publish", [stats, dead_letters], producer)
    return flow
