"""Server-sent events: streams of structs to browsers, bounded in number, kept alive, and ended at once when the node stops."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec
from fastapi.sse import format_sse_event
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.errors import ApiError, ErrorBody

if TYPE_CHECKING:
    from serving.node import Node

T = TypeVar("T")

# Proxies close what is silent for a minute, many after thirty seconds.
KEEP_ALIVE_S = 15.0
# A client that takes none of what is sent for so long is gone, or too slow to be told what happens now.
SEND_TIMEOUT_S = 10.0
# What the last events may take once the node stops: a client that reads takes none of it.
STOP_TIMEOUT_S = 1.0
# Streams beyond `api.max_streams` that operators may open: however many watch, who runs it sees what happens.
OPERATORS = 20
# What a listener may be behind: a burst of a second. More would only hide a client that never catches up.
QUEUE = 256

Events = AsyncIterator[tuple[str, msgspec.Struct]]
"""Pairs of an event's name and what it carries."""


class Streams:
    """The open streams of one node: at most `limit`, none once it stops."""

    def __init__(self, limit: int) -> None:
        self.open = 0
        self.stopping = asyncio.Event()
        self._limit = limit

    def stop(self) -> None:
        """End every stream now and open none any more; call it in the event loop."""
        self.stopping.set()

    @contextmanager
    def one_more(self, *, beyond: int = 0) -> Iterator[None]:
        """Count a stream while it is open, or raise the 503 that says why it can't be; `beyond` is added to the limit."""
        if self.stopping.is_set():
            raise ApiError(503, ErrorBody("busy", "this node stops: connect again"), {"Retry-After": "1"})
        if self.open >= self._limit + beyond:
            message = f"{self.open} event streams are open here, which is all there may be (api.max_streams): come again later"
            raise ApiError(503, ErrorBody("busy", message, bound=str(self._limit)), {"Retry-After": "5"})
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


class EventStream(Response):
    """The response that `event_stream` returns, and the `response_class` of its routes."""

    media_type = "text/event-stream"

    # FastAPI documents routes by the status that their response's class has.
    def __init__(
        self, lines: AsyncGenerator[bytes, None], streams: Streams, status_code: int = 200, *, beyond: int = 0
    ) -> None:
        # A proxy that gathers answers, as nginx does, would deliver what happens now minutes later.
        super().__init__(status_code=status_code, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._lines = lines
        self._streams = streams
        self._beyond = beyond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._streams.one_more(beyond=self._beyond):
            sending = asyncio.ensure_future(self._send(send))
            gone = asyncio.ensure_future(_gone(receive))
            stopping = asyncio.ensure_future(self._streams.stopping.wait())
            try:
                await asyncio.wait((sending, gone, stopping), return_when=asyncio.FIRST_COMPLETED)
                if stopping.done() and not gone.done():
                    await asyncio.wait((sending,), timeout=STOP_TIMEOUT_S)
            finally:
                for task in (sending, gone, stopping):
                    task.cancel()
                results = await asyncio.gather(sending, gone, stopping, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _send(self, send: Send) -> None:
        async with aclosing(self._lines) as lines:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            # After a timeout no end is sent, as none would arrive: the server closes the connection.
            with suppress(TimeoutError):
                async for line in lines:
                    async with asyncio.timeout(SEND_TIMEOUT_S):
                        await send({"type": "http.response.body", "body": line, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def event_stream(events: Events, *, node: "Node", for_operators: bool = False) -> EventStream:
    """Return the response that sends `events` until they end, the client goes or the node stops; then they are closed.

    Raises, when it is sent:
        ApiError: 503 while `api.max_streams` are open, and OPERATORS more where it is for them.
    """
    return EventStream(_lines(events, node.streams), node.streams, beyond=OPERATORS if for_operators else 0)


async def _lines(events: Events, streams: Streams) -> AsyncGenerator[bytes, None]:
    stopping = asyncio.ensure_future(streams.stopping.wait())
    coming: asyncio.Future[tuple[str, msgspec.Struct]] | None = None
    try:
        # What a client sees at once: it is connected, though nothing has happened yet.
        yield format_sse_event(comment="open")
        while True:
            coming = coming or asyncio.ensure_future(_next(events))
            await asyncio.wait((coming, stopping), timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                return
            if not coming.done():
                yield format_sse_event(comment="still here")
                continue
            try:
                name, carried = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield format_sse_event(event=name, data_str=msgspec.json.encode(carried).decode())
    finally:
        for task in (coming, stopping):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


async def _next(events: Events) -> tuple[str, msgspec.Struct]:
    return await anext(events)


class Fanout(Generic[T]):
    """Hands what a thread publishes to every listener that wants it; one that falls too far behind is ended."""

    def __init__(self) -> None:
        self._listeners: set[Listener[T]] = set()
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._listeners)

    def publish(self, item: T) -> None:
        """Hand `item` over, from any thread; costs nothing while nobody listens."""
        if not self._listeners:
            return
        with self._changing:
            listeners = [listener for listener in self._listeners if listener.wants(item)]
        for listener in listeners:
            # A listener whose loop has closed has nobody left to tell.
            with suppress(RuntimeError):
                listener.loop.call_soon_threadsafe(listener.put, item)

    @contextmanager
    def listening(self, wants: Callable[[T], bool]) -> Iterator["Listener[T]"]:
        """Give the items published from now on for which `wants` is true."""
        listener = Listener(wants)
        with self._changing:
            self._listeners.add(listener)
        try:
            yield listener
        finally:
            with self._changing:
                self._listeners.discard(listener)


class Listener(Generic[T]):
    """What a `Fanout` published, to be iterated over; ends where more waits than a burst brings."""

    def __init__(self, wants: Callable[[T], bool]) -> None:
        self.wants = wants
        self.loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[T | None] = asyncio.Queue()
        self._ended = False

    def put(self, item: T) -> None:
        """Take one more item; call it in the listener's loop."""
        if not self._ended:
            self._ended = self._waiting.qsize() >= QUEUE
            self._waiting.put_nowait(None if self._ended else item)

    def __aiter__(self) -> "Listener[T]":
        return self

    async def __anext__(self) -> T:
        item = await self._waiting.get()
        if item is None:
            raise StopAsyncIteration
        return item
