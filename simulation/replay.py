"""Sends a data set through the public API at a chosen pace, as if it happened now."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec

from simulation.client import MAX_BATCH, Client, Refused
from simulation.datasets import Dataset
from streams.events import Interaction, Upload

# Uploads in flight: each is a request of its own, and one at a time would wait for the broker each time.
UPLOADS_AT_ONCE = 16
# Events wait at most this long for their batch to fill: longer and a slow replay comes in bursts.
LONGEST_WAIT_S = 0.1


@dataclass(frozen=True)
class Pace:
    """When events are sent: `rate` events a second, or, with `speed`, the data's own rhythm that many times faster."""

    rate: float | None = None
    speed: float | None = None

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.speed is None):
            raise ValueError(f"a pace is a rate or a speed; got rate={self.rate}, speed={self.speed}")

    def due_s(self, index: int, elapsed_ms: int) -> float:
        """Return when event number `index`, `elapsed_ms` after the first in the data, is sent: seconds after the start."""
        if self.rate is not None:
            return index / self.rate
        assert self.speed is not None
        return elapsed_ms / 1000 / self.speed


@dataclass
class Tally:
    """What became of a replay so far; `last_failure` says why the newest failure failed."""

    sent: int = 0
    failed: int = 0
    last_failure: str = ""

    def refuse(self, count: int, error: Refused) -> None:
        self.failed += count
        self.last_failure = str(error)


async def send_uploads(
    client: Client, uploads: Iterable[Upload], *, age_ms: int = 0, tell: Callable[[int], None] = lambda more: None
) -> Tally:
    """Announce `uploads`, as uploaded `age_ms` ago; `tell` is called with how many more are done."""
    tally = Tally()
    waiting = iter(uploads)

    async def sender() -> None:
        for upload in waiting:
            try:
                await client.upload(msgspec.structs.replace(upload, uploaded_at=_now() - age_ms))
                tally.sent += 1
            except Refused as error:
                tally.refuse(1, error)
            tell(1)

    async with asyncio.TaskGroup() as group:
        for _ in range(UPLOADS_AT_ONCE):
            group.create_task(sender())
    return tally


async def send_interactions(
    client: Client,
    events: Iterable[Interaction],
    pace: Pace,
    *,
    tell: Callable[[int], None] = lambda more: None,
    tally: Tally | None = None,
) -> Tally:
    """Report `events` at `pace`, each as having happened when it is sent; `tell` is called with how many more are done.

    One batch is on its way at a time, so a viewer's events arrive in their order.
    """
    tally = tally or Tally()
    start = time.monotonic()
    for due_s, batch in batches(events, pace):
        await asyncio.sleep(max(0.0, start + due_s - time.monotonic()))
        now = _now()
        try:
            await client.interact([msgspec.structs.replace(event, occurred_at=now) for event in batch])
            tally.sent += len(batch)
        except Refused as error:
            tally.refuse(len(batch), error)
        tell(len(batch))
    return tally


def needed(dataset: Dataset, limit: int | None) -> tuple[Upload, ...]:
    """Return the uploads that the first `limit` interactions speak of; all of them where there is no limit."""
    if limit is None:
        return dataset.uploads
    seen = {event.video_id for event in itertools.islice(dataset.interactions(), limit)}
    return tuple(upload for upload in dataset.uploads if upload.video_id in seen)


def batches(events: Iterable[Interaction], pace: Pace) -> Iterator[tuple[float, list[Interaction]]]:
    """Yield batches with the time at which their last event is due."""
    batch: list[Interaction] = []
    opened_s = due_s = 0.0
    first_at: int | None = None
    for index, event in enumerate(events):
        first_at = event.occurred_at if first_at is None else first_at
        at_s = pace.due_s(index, event.occurred_at - first_at)
        if batch and (len(batch) == MAX_BATCH or at_s - opened_s > LONGEST_WAIT_S):
            yield due_s, batch
            batch = []
        if not batch:
            opened_s = at_s
        batch.append(event)
        due_s = at_s
    if batch:
        yield due_s, batch


def _now() -> int:
    return time.time_ns() // 1_000_000
