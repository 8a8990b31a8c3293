"""A small client of the public API, for programs that play producers and viewers: replay, audience, demo and benches."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import msgspec
import stamina

from streams.codec import encode
from streams.events import Interaction, Upload

# What the API takes in one request.
MAX_BATCH = 1000
# Longer than any pause the API asks for while its broker restarts; past it the caller is told.
PATIENCE_S = 60.0


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One video of a page, as the feed shows it."""

    video_id: str
    position: int
    title: str = ""
    author_id: str = ""
    topics: tuple[str, ...] = ()
    duration_ms: int | None = None
    kind: str = "video"
    score: float = 0.0
    propensity: float = 0.0
    source: str = ""
    reason: str = ""
    new: bool = False


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What the feed answered to one viewer; `as_of` is when the viewer's features were true, Unix ms."""

    request_id: str
    user_id: str
    items: tuple[Item, ...]
    as_of: int = 0


class Refused(Exception):
    """The API answered 4xx or 5xx, and would again: its status, and what it said."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"{response.request.method} {response.request.url.path}: {response.status_code} {_message(response)}")
        self.status = response.status_code
        named = response.headers.get("Retry-After", "")
        self.retry_after_s = float(named) if named.isdigit() else None


class Client:
    """Talks to the API at `url`. A 429 or 503 is asked again after the pause it names, a lost connection after a growing one.

    Sending again is safe: every event carries its id. Each call raises Refused, or ConnectionError after a minute of trying.
    """

    def __init__(self, url: str, *, key: str = "", timeout_s: float = 30.0) -> None:
        headers = {"X-API-Key": key} if key else {}
        # Past 64 connections a single API process only queues, and its answers say nothing of the load.
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout_s, limits=limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def check(self) -> None:
        """Raise ConnectionError, at once, where no API answers."""
        try:
            await self._http.get("/healthz")
        except httpx.TransportError as error:
            raise ConnectionError(f"no API at {self._http.base_url}: {error or type(error).__name__}") from error

    async def upload(self, upload: Upload) -> str:
        """Announce a video and return its id once the broker has it."""
        answer = await self._ask("POST", "/v1/uploads", content=encode(upload), headers=JSON)
        return str(answer.json()["video_id"])

    async def upload_file(self, path: Path, **fields: str | Sequence[str]) -> str:
        """Send the file at `path` with the form's `fields` (title, author_id, tags, …) and return the video's id."""
        named = {"video_id": uuid.uuid4().hex} | fields
        answer = await self._ask("POST", "/v1/uploads", data=named, files={"file": (path.name, path.read_bytes())})
        return str(answer.json()["video_id"])

    async def interact(self, events: Sequence[Interaction]) -> None:
        """Report what viewers did; at most 1,000 events. All are accepted, or none."""
        await self._ask("POST", "/v1/interactions", content=b"[%s]" % b",".join(map(encode, events)), headers=JSON)

    async def instruct(self, user_id: str, text: str) -> None:
        """Tell the feed in words what a viewer wants."""
        await self._ask("POST", "/v1/instructions", json={"event_id": uuid.uuid4().hex, "user_id": user_id, "text": text})

    async def feed(self, user_id: str, *, limit: int = 10) -> Page:
        """Return the viewer's next page."""
        asked = {"user_id": user_id, "limit": limit}
        return msgspec.json.decode((await self._ask("GET", "/v1/feed", params=asked)).content, type=Page)

    async def video(self, video_id: str) -> dict[str, Any] | None:
        """Return what the catalogue knows of a video; None where it does not know it (yet, or any more)."""
        try:
            answer = await self._ask("GET", f"/v1/videos/{quote(video_id)}")
        except Refused as refused:
            if refused.status in (404, 410):
                return None
            raise
        known: dict[str, Any] = answer.json()
        return known

    async def catalogue_size(self) -> int:
        """Return how many videos may be shown."""
        return int((await self._ask("GET", "/readyz")).json()["videos"])

    async def takedown(self, video_id: str) -> dict[str, Any]:
        """Take a video down and return the API's account of what was purged."""
        purged: dict[str, Any] = (await self._ask("DELETE", f"/v1/videos/{quote(video_id)}")).json()
        return purged

    async def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            async for attempt in stamina.retry_context(on=_pause, attempts=None, timeout=PATIENCE_S):
                with attempt:
                    response = await self._http.request(method, path, **request)
                    if response.is_error:
                        raise Refused(response)
        except httpx.TransportError as error:
            raise ConnectionError(f"{method} {self._http.base_url}{path}: {error or type(error).__name__}") from error
        return response


JSON = {"Content-Type": "application/json"}


_LATER = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)


def _pause(error: Exception) -> bool | float:
    """Return whether to ask again, or after how many seconds, where the answer named them."""
    if isinstance(error, Refused):
        return error.status in _LATER and (error.retry_after_s or True)
    return isinstance(error, httpx.TransportError)


def _message(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        return str(error["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
