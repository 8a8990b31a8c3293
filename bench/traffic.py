"""Traffic as a platform has it, through the public API: viewers fetch pages and report what they did, creators upload.

What is refused for now, or met no answer, is sent again with the same ids, as an app does; the ledger holds what was accepted.
"""

import asyncio
import http.client
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import msgspec

from bench.world import APP_BATCH, SEQUENCES
from simulation.client import JSON, Item, Page
from simulation.clips import Clip
from streams.clock import now_ms
from streams.codec import encode
from streams.events import Action, Interaction, Upload

# What an app waits before it tries again; one that tries more often is a load of its own.
AGAIN_S = 0.25
# Longer than any process takes to come back. What was not accepted by then is unknown: it may be there, or not.
PATIENCE_S = 120.0
REQUEST_TIMEOUT_S = 15.0
CONNECTIONS = 64
# Of all batches, those that are sent a second time although they were accepted: the answer got lost on the way to the phone.
SENT_TWICE = 0.02
# Of all batches, those that name no page: what was watched was found by a search, a profile, a link.
OFF_PAGE = 0.2
TITLES = ("cooking noodles", "a cat and a robot", "football tricks", "city by night", "piano lesson", "garden in spring")


class Unaccepted(Exception):
    """No acceptance within `PATIENCE_S`: whether the broker has it, nobody knows."""


@dataclass
class Ledger:
    """What the API accepted, and how often it did not. Without `keep` only how many events there were."""

    keep: bool = True
    accepted: int = 0
    events: dict[str, Interaction] = field(default_factory=dict)
    maybe: dict[str, Interaction] = field(default_factory=dict)
    pages: dict[str, Page] = field(default_factory=dict)
    uploads: dict[str, bool] = field(default_factory=dict)
    """By video, whether it came with its media."""
    answers: Counter[str] = field(default_factory=Counter)
    """Answers by kind: "202", "503", the name of a connection's failure; and batches "resent" and "sent twice"."""


class App:
    """One client of the API at `url`, patient as an app is."""

    def __init__(self, url: str, ledger: Ledger) -> None:
        self.ledger = ledger
        self._url = url
        # Plain connections on threads: an asynchronous client takes five times the CPU, from what is measured.
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="app")
        self._of_thread = threading.local()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown()

    async def page(self, user_id: str) -> Page:
        """Return a viewer's next page."""
        answer = await self.ask("GET", "/v1/feed", params={"user_id": user_id})
        page = msgspec.json.decode(answer.content, type=Page)
        if self.ledger.keep:
            self.ledger.pages[page.request_id] = page
        return page

    async def report(self, events: Sequence[Interaction]) -> None:
        """Send what a viewer did until it is accepted."""
        try:
            await self.ask("POST", "/v1/interactions", content=_body(events), headers=JSON)
        except Unaccepted:
            self.ledger.maybe.update((event.event_id, event) for event in events)
            raise
        self.ledger.accepted += len(events)
        if self.ledger.keep:
            self.ledger.events.update((event.event_id, event) for event in events)

    async def report_again(self, events: Sequence[Interaction]) -> None:
        """Send what was accepted already, as an app does whose answer got lost."""
        self.ledger.answers["sent twice"] += 1
        await self.ask("POST", "/v1/interactions", content=_body(events), headers=JSON)

    async def upload(self, title: str) -> str:
        """Announce a video by its title and return its id."""
        video_id = f"video-{uuid.uuid4().hex}"
        author_id = f"author-{len(self.ledger.uploads) % 50}"
        upload = Upload(event_id=video_id, video_id=video_id, author_id=author_id, title=title, uploaded_at=now_ms())
        await self.ask("POST", "/v1/uploads", content=encode(upload), headers=JSON)
        self.ledger.uploads[video_id] = False
        return video_id

    async def upload_clip(self, clip: Clip) -> str:
        """Send a video with its file and return its id."""
        video_id = f"clip-{uuid.uuid4().hex}"
        fields = {"video_id": video_id, "author_id": "author-of-clips", "title": clip.title}
        files = {"file": (clip.path.name, await asyncio.to_thread(clip.path.read_bytes))}
        await self.ask("POST", "/v1/uploads", data=fields, files=files)
        self.ledger.uploads[video_id] = True
        return video_id

    async def instruct(self, user_id: str, text: str) -> None:
        """Tell the feed what a viewer wants."""
        await self.ask("POST", "/v1/instructions", json={"event_id": uuid.uuid4().hex, "user_id": user_id, "text": text})

    async def forget(self, user_id: str) -> None:
        """Have a viewer erased."""
        await self.ask("DELETE", f"/v1/users/{user_id}")

    async def video(self, video_id: str) -> dict[str, Any] | None:
        """Return what the catalogue knows of a video; None where it does not know it yet."""
        answer = await self.ask("GET", f"/v1/videos/{video_id}", unknown_is_an_answer=True)
        known: dict[str, Any] = answer.json()
        return None if answer.status_code == 404 else known

    async def ask(self, method: str, path: str, *, unknown_is_an_answer: bool = False, **parts: Any) -> httpx.Response:
        """Return the answer, once the API gives one that is neither "later" nor "busy". `parts` are an httpx.Request's.

        Raises:
            Unaccepted: it did not within `PATIENCE_S`.
            httpx.HTTPStatusError: it refused for good, which is a fault of the bench or of the API.
        """
        request = httpx.Request(method, self._url + path, **parts)
        request.read()
        answers, deadline = self.ledger.answers, time.monotonic() + PATIENCE_S
        loop = asyncio.get_running_loop()
        while time.monotonic() < deadline:
            try:
                answer = await loop.run_in_executor(self._threads, self._send, request)
            except (OSError, http.client.HTTPException) as error:
                answers[type(error).__name__] += 1
                pause_s = AGAIN_S
            else:
                answers[str(answer.status_code)] += 1
                if answer.status_code == 404 and unknown_is_an_answer:
                    return answer
                if answer.status_code not in (429, 503):
                    return answer.raise_for_status()
                pause_s = float(answer.headers.get("Retry-After", AGAIN_S))
            answers["sent again"] += 1
            await asyncio.sleep(pause_s)
        raise Unaccepted(f"{method} {path}: not accepted within {PATIENCE_S:g} s")

    def _send(self, request: httpx.Request) -> httpx.Response:
        connection: http.client.HTTPConnection | None = getattr(self._of_thread, "connection", None)
        if connection is None:
            address = urlsplit(self._url).netloc
            connection = self._of_thread.connection = http.client.HTTPConnection(address, timeout=REQUEST_TIMEOUT_S)
        try:
            connection.request(
                request.method, request.url.raw_path.decode(), request.content, headers=dict(request.headers.items())
            )
            answer = connection.getresponse()
            content = answer.read()
        except BaseException:
            connection.close()
            raise
        return httpx.Response(answer.status, headers=dict(answer.headers), content=content, request=request)


def _body(events: Sequence[Interaction]) -> bytes:
    return b"[%s]" % b",".join(map(encode, events))


class Pace:
    """A steady rate. What was missed in an outage is not made up for: viewers do not watch twice as fast after one."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._next = 0.0

    async def take(self, count: int) -> None:
        """Return when `count` more are due."""
        now = time.monotonic()
        at = self._next = max(self._next, now)
        self._next += count / self._per_s
        await asyncio.sleep(at - now)


class Audience:
    """Viewers who fetch pages and report what they do with them."""

    def __init__(self, app: App, *, viewers: int, seed: int) -> None:
        self._app = app
        self._rng = random.Random(seed)
        self._viewers = [f"viewer-{seed}-{number}" for number in range(viewers)]

    def anyone(self) -> str:
        """Return a viewer, each as likely as any other."""
        return self._rng.choice(self._viewers)

    async def run(self, pace: Pace, until: Callable[[], bool], *, at_once: int) -> None:
        """Let viewers visit at a pace until `until` says so, one visit of a viewer after the other.

        Every batch that was begun is accepted, or `maybe`, at the end.
        """
        async with asyncio.TaskGroup() as group:
            for number in range(at_once):
                group.create_task(self._visits(self._viewers[number::at_once], pace, until))

    async def _visits(self, viewers: Sequence[str], pace: Pace, until: Callable[[], bool]) -> None:
        while not until():
            try:
                await self.watch(await self._app.page(self._rng.choice(viewers)), before_each=pace.take)
            except Unaccepted:
                continue

    async def watch(self, page: Page, *, before_each: Callable[[int], Awaitable[None]]) -> None:
        """Report what the page's viewer does with it, a batch after the other; `before_each` is awaited with its size."""
        session_id = uuid.uuid4().hex
        acts = list(self._watch(page.items))
        for start in range(0, len(acts), APP_BATCH):
            some = acts[start : start + APP_BATCH]
            await before_each(len(some))
            request_id = None if self._rng.random() < OFF_PAGE else page.request_id
            batch = [self._event(page.user_id, session_id, request_id, item, action) for item, action in some]
            await self._app.report(batch)
            if self._rng.random() < SENT_TWICE:
                await self._app.report_again(batch)

    def _watch(self, items: Sequence[Item]) -> Iterator[tuple[Item, Action]]:
        shares, sequences = zip(*SEQUENCES, strict=True)
        for item in items:
            for action in self._rng.choices(sequences, shares)[0]:
                yield item, action

    def _event(self, user_id: str, session_id: str, request_id: str | None, item: Item, action: Action) -> Interaction:
        return Interaction(
            event_id=uuid.uuid4().hex,
            user_id=user_id,
            video_id=item.video_id,
            action=action,
            occurred_at=now_ms(),
            request_id=request_id,
            session_id=session_id,
            position=item.position,
            watch_ms={"progress": 9_000, "skip": 1_200, "complete": 15_000}.get(action),
        )


def titles(seed: int) -> Iterator[str]:
    """Yield titles of videos, no two the same."""
    rng = random.Random(seed)
    number = 0
    while True:
        number += 1
        yield f"{rng.choice(TITLES)}, part {number}"
