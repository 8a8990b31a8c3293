"""One API node: everything its routes need, composed once."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct
from uuid_utils import uuid7

from models.settings import MediaSettings
from serving.feed.feed import Feed, build_feed
from serving.keys import Keys
from serving.metrics import Metrics
from serving.purges import Purges, Store
from serving.settings import ApiSettings, FeedSettings
from streams.clock import Clock, now_ms
from streams.events import Event, Slate
from streams.kafka import NotAccepted
from streams.ports import ViewerSource
from streams.topics import SLATES, Topic


class Publisher(Protocol):
    """How events reach the broker; `EventProducer` is one."""

    async def publish(self, topic: Topic, events: Sequence[Event], *, trace: str | None = None) -> None: ...

    def send(self, topic: Topic, event: Event, *, trace: str | None = None) -> None: ...

    def __len__(self) -> int: ...


class Check(Struct, frozen=True, kw_only=True):
    """One thing that a node needs; without a required one it is not ready, without another it is degraded."""

    name: str
    ok: bool
    required: bool = True
    detail: str = ""


class Node:
    """The feed, the way to the broker, and what is shared by all requests."""

    def __init__(
        self,
        api: ApiSettings,
        feed: FeedSettings,
        media: MediaSettings,
        *,
        publisher: Publisher,
        viewers: ViewerSource,
        checks: Callable[[], Awaitable[list[Check]]],
        clock: Clock = now_ms,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.api = api
        self.feed_settings = feed
        self.media = media
        self.publisher = publisher
        self.checks = checks
        self.clock = clock
        self.rng = rng or np.random.default_rng()
        self.keys = Keys(api.keys)
        self.metrics = Metrics()
        self.feed: Feed = build_feed(feed, viewers, self._publish_slate)
        self.purges = Purges(self.forget_user)
        self.metrics.watch("catalogue_videos", "videos that may be shown", lambda: len(self.feed.catalogue))
        self.metrics.watch("producer_queue_events", "events that wait for the broker", lambda: len(publisher))
        self.metrics.watch("features_degraded", "1 while pages are made from memory", lambda: self.feed.viewers.degraded)

    def forget_user(self, user_id: str) -> Store:
        """Remove a viewer from this node's memory."""
        feed = self.feed
        count = feed.viewers.forget(user_id) + feed.plans.forget(user_id) + feed.last_pages.forget(user_id)
        return Store(store="memory of this API node", status="purged", purged=count)

    def forget_video(self, video_id: str) -> Store:
        """Remove a video from this node's memory, at once and for good."""
        count = self.feed.catalogue.take_out(video_id, at=self.clock())
        return Store(store="memory of this API node", status="purged", purged=count)

    def _publish_slate(self, slate: Slate, trace: str | None) -> None:
        try:
            self.publisher.send(SLATES, slate, trace=trace)
        except NotAccepted:
            # The viewer has the page; what is lost is one lesson, and it is counted.
            self.metrics.slates_lost.inc()


def new_id() -> str:
    """Return a UUIDv7: unique, and sorted by time."""
    return str(uuid7())
