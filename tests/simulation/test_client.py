"""The API client: when it asks again, and what it says when it doesn't. Against a small HTTP server, over a real socket."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from simulation.client import Client, Refused

Answer = tuple[int, dict[str, str], object]


@contextmanager
def serving(*answers: Answer) -> Iterator[tuple[str, list[str]]]:
    """Answer requests with `answers` in turn; yield the server's URL and the paths asked for."""
    left, asked = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, headers, body = left.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


PAGE = {"request_id": "r", "user_id": "u", "items": [{"video_id": "v", "position": 0, "a_later_field": 1}], "as_of": 5}


async def feed(url: str) -> str:
    async with Client(url) as client:
        return (await client.feed("u")).items[0].video_id


def test_a_503_is_asked_again_after_the_pause_it_names() -> None:
    with serving((503, {"Retry-After": "1"}, {}), (200, {}, PAGE)) as (url, asked):
        began = time.monotonic()
        assert asyncio.run(feed(url)) == "v"
        assert time.monotonic() - began >= 1.0
    assert len(asked) == 2


def test_a_refusal_is_not_asked_again_and_says_what_the_api_said() -> None:
    error = {"error": {"type": "bad_event", "message": "user_id: at most 128 characters"}}
    with serving((422, {}, error)) as (url, asked), pytest.raises(Refused, match="422 user_id: at most 128") as refused:
        asyncio.run(feed(url))
    assert refused.value.status == 422
    assert len(asked) == 1


def test_an_unknown_video_is_none_and_its_id_may_hold_anything() -> None:
    async def ask(url: str) -> object:
        async with Client(url) as client:
            return await client.video("a b?c#d")

    with serving((404, {}, {})) as (url, asked):
        assert asyncio.run(ask(url)) is None
    assert asked == ["/v1/videos/a%20b%3Fc%23d"]


def test_no_api_is_said_at_once() -> None:
    async def check() -> None:
        async with Client("http://127.0.0.1:9") as client:
            await client.check()

    with pytest.raises(ConnectionError, match="no API at http:"):
        asyncio.run(check())
