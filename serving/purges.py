"""Proofs of erasure: who wants a viewer or a video forgotten waits here for what each store answers."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal

from msgspec import Struct

from streams.events import Purged
from streams.follower import Followed
from streams.topics import Topic

# What the flows answer for; the API adds its own memory.
VIDEO_STORES = (
    "perceptions topic",
    "video-stats topic",
    "redis: video features",
    "redis: video statistics",
    "feature log: video features",
    "feature log: video statistics",
    "flow state: perceive",
    "flow state: profile",
    "media files",
)
USER_STORES = (
    "redis: user features",
    "feature log",
    "feedback log",
    "flow state: profile",
    "flow state: rerank",
    "flow state: feedback",
    "plans topic",
)
# The lines of an answer for what goes later by itself. Some flows remember for a while that somebody was forgotten, so that
# nothing from before begins anew; then their snapshots, too, are written anew (`streams.flows.scrub`).
SNAPSHOTS_OF_USERS = "overwritten within flows.feedback_max_s and twice flows.scrub_every_s: 12 minutes, if nothing else is set"
SNAPSHOTS_OF_VIDEOS = "overwritten within twice flows.scrub_every_s: 2 minutes, if nothing else is set"
GONE_MARKS = "that a video is gone is remembered for 8 days, by its id alone, as an upload may come that late"


class Store(Struct, frozen=True, kw_only=True):
    """What one store let go of. A pending one has not answered yet; one that expires forgets by its retention."""

    store: str
    status: Literal["purged", "pending", "expires"]
    purged: int = 0
    detail: str = ""


def keep(proofs: dict[str, Purged], proof: Purged) -> None:
    """Put `proof` among those of its cause, by store."""
    # It may come twice: the first counts, as the second found nothing left.
    before = proofs.get(proof.store)
    if before is None or before.count < proof.count:
        proofs[proof.store] = proof


def purged(proofs: dict[str, Purged]) -> list[Store]:
    """Return what the stores let go of, by their names."""
    return [Store(store=name, status="purged", purged=proof.count) for name, proof in sorted(proofs.items())]


class _Waiting:
    def __init__(self, expected: frozenset[str]) -> None:
        self.loop = asyncio.get_running_loop()
        self.changed = asyncio.Event()
        self.missing = set(expected)
        self.proofs: dict[str, Purged] = {}

    def take(self, proof: Purged) -> None:
        keep(self.proofs, proof)
        self.missing.discard(proof.store)
        if not self.missing:
            self.changed.set()


class Purges:
    """Collects proofs by their cause. `forget_user` is called for every viewer that any node had erased."""

    def __init__(self, forget_user: Callable[[str], object]) -> None:
        self._waiting: dict[str, _Waiting] = {}
        self._forget_user = forget_user

    def follow(self, batch: Sequence[Followed]) -> None:
        """Take over a batch of proofs, as a Follower hands it over."""
        for followed in batch:
            proof = followed.event
            if isinstance(proof, Purged):
                if proof.subject == "user":
                    self._forget_user(proof.subject_id)
                waiting = self._waiting.get(proof.cause)
                if waiting is not None:
                    waiting.loop.call_soon_threadsafe(waiting.take, proof)

    @contextmanager
    def expect(self, cause: str, stores: Sequence[str]) -> Iterator["Proofs"]:
        """Collect the proofs for `cause` from now on: begin before the event is published."""
        waiting = self._waiting[cause] = _Waiting(frozenset(stores))
        try:
            yield Proofs(waiting)
        finally:
            del self._waiting[cause]


class Proofs:
    """The proofs for one cause, as they come."""

    def __init__(self, waiting: _Waiting) -> None:
        self._waiting = waiting

    async def wait(self, timeout_s: float) -> list[Store]:
        """Return what every store answered within `timeout_s`, those still pending last."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.changed.wait(), timeout_s)
        pending = [
            Store(store=name, status="pending", detail=f"no proof within {timeout_s:g} s; it follows on the topic `purges`")
            for name in sorted(self._waiting.missing)
        ]
        return [*purged(self._waiting.proofs), *pending]


def later(store: str, detail: str) -> Store:
    """Return the line of a store that forgets by itself, in the time that `detail` says."""
    return Store(store=store, status="expires", detail=detail)


def expiring(topic: Topic) -> Store:
    """Return the line of a topic that keeps its events until they expire."""
    assert topic.retention_ms is not None, "a topic that keeps the newest for ever is purged by tombstones"
    hours = topic.retention_ms // 3_600_000
    kept = f"{hours} h" if hours < 24 else f"{hours // 24} days"
    return later(f"topic {topic.name}", f"events expire after {kept}")
