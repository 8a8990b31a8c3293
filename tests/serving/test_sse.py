"""Event streams over a real server: what arrives, how many there may be, and how each of them ends."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from msgspec import Struct

from serving import errors, sse
from serving.errors import ApiError
from serving.graceful import GracefulServer
from serving.sse import OPERATORS, EventStream, Fanout, Streams, event_stream

DEADLINE_S = 20.0


class Count(Struct):
    number: int
    text: str = ""


class Station:
    """A node's streams, and a server whose streams count on as the test says."""

    def __init__(self, limit: int) -> None:
        self.streams = Streams(limit)
        self.closed = 0
        self.go_on = threading.Event()
        self.size = 0
        app = FastAPI()
        errors.install(app)
        app.get("/three", response_class=EventStream)(self.three)
        app.get("/endless", response_class=EventStream)(self.endless)
        app.get("/broken", response_class=EventStream)(self.broken)
        self.server = GracefulServer(
            uvicorn.Config(app, port=0, log_level="critical", timeout_graceful_shutdown=30), self.streams
        )

    async def three(self) -> EventStream:
        async def numbers() -> AsyncIterator[tuple[str, Struct]]:
            for number in range(3):
                yield "count", Count(number, "line one\nline two: ü")

        return event_stream(numbers(), node=self)  # type: ignore[arg-type]

    async def endless(self) -> EventStream:
        async def numbers() -> AsyncIterator[tuple[str, Struct]]:
            try:
                yield "count", Count(0)
                while True:
                    if self.size:
                        yield "count", Count(1, "x" * self.size)
                    else:
                        await asyncio.sleep(3600)
            finally:
                self.closed += 1

        return event_stream(numbers(), node=self)  # type: ignore[arg-type]

    async def broken(self) -> EventStream:
        async def numbers() -> AsyncIterator[tuple[str, Struct]]:
            yield "count", Count(0)
            raise RuntimeError("nothing more to count")

        return event_stream(numbers(), node=self)  # type: ignore[arg-type]


@contextmanager
def serving(station: Station) -> Iterator[str]:
    thread = threading.Thread(target=station.server.run, daemon=True)
    thread.start()
    until(lambda: station.server.started)
    port = station.server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        station.server.should_exit = True
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


@contextmanager
def opened(url: str) -> Iterator[Iterator[str]]:
    """Open a stream, and give the lines after its first."""
    with httpx.stream("GET", url) as answer:
        lines = answer.iter_lines()
        assert next(lines) == ": open"
        yield lines


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def station() -> Station:
    return Station(limit=2)


def test_events_arrive_by_name_with_their_struct_as_json_and_the_stream_ends_with_them(station: Station):
    with serving(station) as url, httpx.stream("GET", f"{url}/three") as answer:
        lines = list(answer.iter_lines())
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert lines[:5] == [": open", "", "event: count", 'data: {"number":0,"text":"line one\\nline two: ü"}', ""]
    assert lines.count("event: count") == 3
    assert station.streams.open == 0


def test_a_silent_stream_is_kept_alive_by_comments(station: Station, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.01)
    with serving(station) as url, httpx.stream("GET", f"{url}/endless") as answer:
        assert ": still here" in answer.iter_lines()


def test_more_streams_than_are_allowed_are_refused_and_one_that_closes_makes_room(station: Station):
    with serving(station) as url, opened(f"{url}/endless"):
        with opened(f"{url}/endless"):
            refused = httpx.get(f"{url}/endless")
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
            assert "api.max_streams" in refused.json()["error"]["message"]
        until(lambda: station.streams.open == 1)
        assert station.closed == 1
        assert len(httpx.get(f"{url}/three").text) > 0


def test_a_server_that_is_told_to_stop_ends_its_streams_at_once(station: Station):
    with serving(station) as url, opened(f"{url}/endless") as lines:
        station.server.should_exit = True
        # To the end and not cut off: a client that is cut off would raise.
        assert list(lines)[-1] == ""
    assert station.closed == 1


def test_a_client_that_reads_nothing_does_not_keep_a_server_from_stopping(station: Station):
    station.size = 1_000_000
    with serving(station) as url, socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
        until(lambda: station.streams.open == 1)
        client.recv(100)
        station.server.should_exit = True
        until(lambda: station.closed == 1)
        until(lambda: not station.server.server_state.connections)


def test_a_client_that_reads_too_slowly_is_dropped(station: Station, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sse, "SEND_TIMEOUT_S", 0.2)
    station.size = 1_000_000
    with serving(station) as url, socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
        client.recv(100)
        until(lambda: station.closed == 1)
        until(lambda: station.streams.open == 0)


def test_a_source_that_fails_ends_its_stream_and_no_other(station: Station):
    with serving(station) as url, opened(f"{url}/endless"):
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{url}/broken")
        assert station.streams.open == 1
        assert len(httpx.get(f"{url}/three").text) > 0


async def collect(fanout: Fanout[int], wants: Callable[[int], bool], ready: threading.Event) -> list[int]:
    with fanout.listening(wants) as coming:
        ready.set()
        return [number async for number in coming]


def test_what_a_thread_publishes_reaches_those_who_want_it_until_one_is_too_far_behind():
    fanout: Fanout[int] = Fanout()
    ready = threading.Event()
    heard: list[int] = []

    def listen() -> None:
        heard.extend(asyncio.run(collect(fanout, lambda number: number % 2 == 0, ready)))

    thread = threading.Thread(target=listen)
    thread.start()
    assert ready.wait(DEADLINE_S)
    for number in range(10):
        fanout.publish(number)
    # A burst that no loop can work off between two of these: the listener is ended, and its memory stays bounded.
    while thread.is_alive():
        for number in range(2 * sse.QUEUE):
            fanout.publish(2 * number)
    thread.join()
    assert heard[:5] == [0, 2, 4, 6, 8]
    assert all(number % 2 == 0 for number in heard)
    assert len(fanout) == 0


def test_operators_find_room_where_viewers_have_taken_it_all():
    streams = Streams(limit=1)
    with streams.one_more():
        with pytest.raises(ApiError), streams.one_more():
            pass
        with streams.one_more(beyond=OPERATORS):
            assert streams.open == 2
