"""Ends processes of a house one after the other, and measures how long each one's work is missed by those who use it.

Each process has a probe that begins after its end: what a viewer or creator would do, until it has the effect it should have.
"""

import asyncio
import itertools
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import psutil

from bench.house import Up
from bench.traffic import App
from streams.clock import now_ms
from streams.events import Interaction, Plan, Purged
from streams.follower import Followed
from streams.ports import ViewerSource

# Finer than what is measured by far; each look is a request, or a read, on the machine that is measured.
LOOK_EVERY_S = 0.05
# What is not back by then did not come back by itself.
GIVEN_UP_S = 120.0


@dataclass(frozen=True)
class Kill:
    """The end of one process. `back_s` is None where its work was not seen again within `GIVEN_UP_S`."""

    name: str
    ended_s: float
    """From the signal to the process' end."""
    back_s: float | None
    """From the signal until its work was seen again."""


@dataclass
class Seen:
    """Viewers who have a plan, and those whom the feedback flow forgot. Filled by a Follower's thread."""

    plans: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)

    def take_in(self, batch: list[Followed]) -> None:
        """Take over a batch, as a Follower hands it over."""
        for followed in batch:
            if isinstance(followed.event, Plan):
                self.plans.add(followed.event.user_id)
            elif isinstance(followed.event, Purged) and followed.event.store == "flow state: feedback":
                self.forgotten.add(followed.event.subject_id)


class Killer:
    """Ends processes of `house` with `sign` and waits, each time, until their work is seen again."""

    def __init__(self, house: Up, app: App, features: ViewerSource, seen: Seen, *, sign: signal.Signals) -> None:
        self.kills: list[Kill] = []
        self._house, self._app, self._features, self._seen = house, app, features, seen
        self._sign = sign
        self._probes: dict[str, Callable[[], Awaitable[None]]] = {
            "flow-profile": self._an_event_is_in_the_features,
            "flow-perceive": self._a_title_is_perceived,
            "flow-rerank": self._a_wish_becomes_a_plan,
            "flow-feedback": self._a_viewer_is_forgotten,
            "api": self._a_page_is_served,
            "redis": self._a_page_knows_the_last_event,
            "triton": self._a_title_is_perceived,
        }

    async def run(self, names: Sequence[str], each: int, *, due: Callable[[int], bool]) -> None:
        """End each of `names` in turn, `each` times; number `i` once `due(i)` and the one before is back."""
        for number, name in enumerate(itertools.chain.from_iterable(itertools.repeat(names, each))):
            while not due(number):
                await asyncio.sleep(LOOK_EVERY_S)
            self.kills.append(await self._kill(name))

    async def _kill(self, name: str) -> Kill:
        began = time.monotonic()
        process = await asyncio.to_thread(self._house.send, name, self._sign)
        await asyncio.to_thread(_wait, process)
        ended_s = time.monotonic() - began
        try:
            await asyncio.wait_for(self._probes[name](), GIVEN_UP_S)
        except TimeoutError:
            return Kill(name, ended_s, None)
        return Kill(name, ended_s, time.monotonic() - began)

    async def _an_event_is_in_the_features(self) -> None:
        user_id = _new("viewer")
        await self._app.report([_impression(user_id)])
        await _until(lambda: asyncio.to_thread(self._is_counted, user_id))

    def _is_counted(self, user_id: str) -> bool:
        return self._features.viewer(user_id).activity is not None

    async def _a_title_is_perceived(self) -> None:
        video_id = await self._app.upload(f"A probe {uuid.uuid4().hex}")
        await _until(lambda: self._is_servable(video_id))

    async def _is_servable(self, video_id: str) -> bool:
        return await self._app.video(video_id) is not None

    async def _a_wish_becomes_a_plan(self) -> None:
        user_id = _new("viewer")
        await self._app.instruct(user_id, "less politics, more cooking")

        await _until(lambda: _is_in(self._seen.plans, user_id))

    async def _a_viewer_is_forgotten(self) -> None:
        # A page would do as well, but its window is longer than the flow's way back.
        user_id = _new("viewer")
        await self._app.forget(user_id)
        await _until(lambda: _is_in(self._seen.forgotten, user_id))

    async def _a_page_is_served(self) -> None:
        await self._app.page(_new("viewer"))

    async def _a_page_knows_the_last_event(self) -> None:
        user_id = _new("viewer")
        event = _impression(user_id)
        await self._app.report([event])

        async def knows() -> bool:
            return (await self._app.page(user_id)).as_of >= event.occurred_at

        await _until(knows)


def _wait(process: psutil.Process) -> None:
    """Return when the process has ended, whoever its parent is."""
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.005)


async def _is_in(found: set[str], wanted: str) -> bool:
    return wanted in found


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    while True:
        try:
            if await holds():
                return
        except ConnectionError:
            # Redis, which the bench reads itself, may be what is away.
            pass
        await asyncio.sleep(LOOK_EVERY_S)


def _new(kind: str) -> str:
    return f"probe-{kind}-{uuid.uuid4().hex}"


def _impression(user_id: str) -> Interaction:
    return Interaction(
        event_id=_new("event"), user_id=user_id, video_id="probe-video", action="impression", occurred_at=now_ms()
    )
