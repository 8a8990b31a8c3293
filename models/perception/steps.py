"""The steps of one perception: each timed and counted, and one that takes too long left out."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from streams.events import PerceptionStep, StepName
from streams.ports import Count, PerceptionLate, uncounted

log = logging.getLogger(__name__)


class Steps:
    """What was done to understand one video, and how long it took."""

    def __init__(self, video_id: str, *, count: Count = uncounted) -> None:
        """Tell `count` of each step, by what came of it (`step/NAME/done`, `late`, `failed`), and its time (`step_ms/NAME`)."""
        self.done: list[PerceptionStep] = []
        self.video_id = video_id
        self._count = count
        self._started = time.perf_counter()

    @contextmanager
    def step(self, name: StepName) -> Iterator[None]:
        """Time a step; one that fails is not recorded, and one whose answer comes too late ends quietly."""
        began = time.perf_counter()
        try:
            yield
        except PerceptionLate as late:
            # What is seen is worth more now than what might be said of it later.
            log.warning("video %s: left out the step %s: %s", self.video_id, name, late)
            self._count(f"step/{name}/late")
            return
        except Exception:
            self._count(f"step/{name}/failed")
            raise
        took_ms = round((time.perf_counter() - began) * 1000)
        self.done.append(PerceptionStep(name, took_ms))
        self._count(f"step/{name}/done")
        self._count(f"step_ms/{name}", took_ms)

    def took_ms(self) -> int:
        """Return the milliseconds since the beginning."""
        return round((time.perf_counter() - self._started) * 1000)
