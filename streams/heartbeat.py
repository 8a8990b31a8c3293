"""What a process says of itself every second: what it took, how far it is, how fresh its features are, what it costs."""

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import psutil

from streams.clock import Clock, now_ms
from streams.events import Heartbeat, ModelState, Supervised
from streams.every import every
from streams.lossy import LossyProducer
from streams.topics import HEARTBEATS

# Longer, and operators see a death later; shorter costs each process more and shows nothing that a plot could.
EVERY_S = 1.0


class Pulse:
    """What one process counts, from any of its threads, until the next heartbeat tells of it."""

    def __init__(
        self,
        process: str,
        *,
        clock: Clock = now_ms,
        children: Callable[[], tuple[Supervised, ...]] = tuple,
    ) -> None:
        self.process = process
        self.instance = f"{socket.gethostname()}:{os.getpid()}"
        self._clock = clock
        self._children = children
        self._models: Callable[[], tuple[ModelState, ...]] = tuple
        self._started_at = clock()
        self._self = psutil.Process()
        self._self.cpu_percent()
        self._lock = threading.Lock()
        self._events: dict[str, int] = {}
        self._positions: dict[str, dict[str, int]] = {}
        self._waited_ms: list[int] = []
        self._counters: dict[str, int] = {}

    def took(self, topic: str, partition: int, *, events: int, next_offset: int) -> None:
        """Count events that were taken from a partition, of which `next_offset` comes next."""
        with self._lock:
            self._events[topic] = self._events.get(topic, 0) + events
            self._positions.setdefault(topic, {})[str(partition)] = next_offset

    def readable(self, waited_ms: Sequence[int]) -> None:
        """Count events whose features can be read now, by how long after the broker had them."""
        with self._lock:
            self._waited_ms += waited_ms

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counters[name] = self._counters.get(name, 0) + by

    def models(self, states: Callable[[], tuple[ModelState, ...]]) -> None:
        """Tell from now on of the learned models that `states` returns."""
        self._models = states

    def beat(self) -> Heartbeat:
        """Return what there is to tell, and begin anew with all that is counted by heartbeat."""
        with self._lock:
            events, self._events = self._events, {}
            waited_ms, self._waited_ms = self._waited_ms, []
            positions = {topic: dict(offsets) for topic, offsets in self._positions.items()}
            counters = dict(self._counters)
        freshness_ms = None
        if waited_ms:
            p50, p99 = np.percentile(waited_ms, (50, 99))
            # The broker's clock may be a little ahead of ours.
            freshness_ms = max(0.0, float(p50)), max(0.0, float(p99))
        return Heartbeat(
            process=self.process,
            instance=self.instance,
            started_at=self._started_at,
            at=self._clock(),
            events=events,
            positions=positions,
            freshness_ms=freshness_ms,
            counters=counters,
            rss_bytes=self._self.memory_info().rss,
            cpu_share=self._self.cpu_percent() / 100,
            children=self._children(),
            models=self._models(),
        )


@contextmanager
def beating(pulse: Pulse, producer: LossyProducer, *, every_s: float = EVERY_S) -> Iterator[None]:
    """Send a heartbeat every second, on a thread of its own, as long as the block runs."""
    # A process that works must not look dead because it could not be measured once.
    with every(every_s, lambda: producer.send(HEARTBEATS, pulse.beat()), name="heartbeat"):
        yield
