"""What a request knows of its viewer: features from the store or, when it is away, from memory; the plan; the last pages."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from serving.recent import Recent
from serving.settings import FeedSettings
from streams.events import Plan
from streams.features import ViewerFeatures
from streams.follower import Followed
from streams.ports import ViewerSource

log = logging.getLogger(__name__)

# After this many failed reads in a row the store is left alone for a while: waiting for the deadline at each request
# would make every page slow, and give the store no rest to come back in.
_FAILURES, _PAUSE_S = 3, 1.0


class Viewers:
    """Reads viewers' features within a deadline; without the store the feed goes on from what it remembers."""

    def __init__(
        self, source: ViewerSource, settings: FeedSettings, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._timeout_s = settings.features_timeout_s
        self._memory: Recent[ViewerFeatures] = Recent(settings.viewers_in_memory)
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="features")
        self._monotonic = monotonic
        self._failures = 0
        self._paused_until = 0.0

    @property
    def degraded(self) -> bool:
        """Tell whether the store is away, so that pages are made from memory."""
        return self._failures >= _FAILURES

    async def features(self, user_id: str) -> ViewerFeatures:
        """Return a viewer's features; the last known ones, or none, where the store does not answer in time."""
        if self._monotonic() < self._paused_until:
            return self._remembered(user_id)
        read = asyncio.get_running_loop().run_in_executor(self._threads, self._source.viewer, user_id)
        try:
            viewer = await asyncio.wait_for(read, self._timeout_s)
        except Exception as error:
            self._failed(error)
            return self._remembered(user_id)
        self._failures = 0
        self._memory.put(user_id, viewer)
        return viewer

    def forget(self, user_id: str) -> int:
        """Forget a viewer; return how many rows went, 0 or 1."""
        return self._memory.forget(user_id)

    def close(self) -> None:
        """Let the reading threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _remembered(self, user_id: str) -> ViewerFeatures:
        return self._memory.get(user_id) or ViewerFeatures(user_id=user_id)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == _FAILURES:
            log.warning("features can't be read, pages are made from memory: %s", str(error) or type(error).__name__)
        if self._failures >= _FAILURES:
            self._paused_until = self._monotonic() + _PAUSE_S


class Plans:
    """Each viewer's newest plan, until it expires."""

    def __init__(self, settings: FeedSettings) -> None:
        self._plans: Recent[Plan] = Recent(settings.viewers_in_memory)

    def follow(self, batch: Sequence[Followed]) -> None:
        """Take over a batch of plans, as a Follower hands it over."""
        for followed in batch:
            if isinstance(followed.event, Plan):
                self._plans.put(followed.event.user_id, followed.event)
            elif followed.event is None:
                # The viewer was forgotten: also after a restart, that reads the plan again before its end.
                self._plans.forget(followed.key)

    def of(self, user_id: str, *, now_ms: int) -> Plan | None:
        """Return the viewer's plan, None where there is none or it has expired."""
        plan = self._plans.get(user_id)
        return plan if plan is not None and plan.expires_at > now_ms else None

    def forget(self, user_id: str) -> int:
        """Forget a viewer's plan; return how many went, 0 or 1."""
        return self._plans.forget(user_id)


class LastPages:
    """What this node served to each viewer lately: it reaches the viewer's history only once it was seen."""

    def __init__(self, settings: FeedSettings) -> None:
        self._served: Recent[tuple[tuple[str, int], ...]] = Recent(settings.viewers_in_memory)
        self._size = settings.served_memory
        self._kept_ms = int(settings.served_memory_s * 1000)

    def add(self, user_id: str, video_ids: Sequence[str], *, now_ms: int) -> None:
        """Remember a page."""
        if self._size:
            page = tuple((video_id, now_ms) for video_id in video_ids)
            self._served.put(user_id, ((self._served.get(user_id) or ()) + page)[-self._size :])

    def withdraw(self, user_id: str, video_ids: Collection[str]) -> None:
        """Let go of videos that were served and never shown: another page may have them."""
        served = self._served.get(user_id)
        if served:
            self._served.put(user_id, tuple(each for each in served if each[0] not in video_ids))

    def of(self, user_id: str, *, now_ms: int) -> dict[str, int]:
        """Return the videos served lately, and when (Unix ms)."""
        return {key: at for key, at in self._served.get(user_id) or () if at > now_ms - self._kept_ms}

    def forget(self, user_id: str) -> int:
        """Forget a viewer's pages; return how many videos were on them."""
        served = self._served.get(user_id) or ()
        self._served.forget(user_id)
        return len(served)
