"""The open-loop load: it keeps its schedule whatever the server does, and charges the server for it."""

import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from bench.load import Load, Request

STALL_S = 0.5


@pytest.fixture
def slow_once() -> Iterator[str]:
    """A server that handles one request at a time and stalls on the first."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            if len(seen) == 1:
                time.sleep(STALL_S)
            self.send_response(200 if self.path != "/bad" else 500)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def paths(count: int) -> Iterable[Request]:
    return [Request("GET", "/" if number != 5 else "/bad") for number in range(count)]


def test_who_waits_behind_a_stall_is_counted_as_waiting(slow_once: str) -> None:
    answers = sorted(Load(slow_once, 50.0, paths, 20), key=lambda answer: answer.number)
    assert [answer.number for answer in answers] == list(range(20))
    due = [answer.due - answers[0].due for answer in answers]
    assert due == pytest.approx([number / 50 for number in range(20)])
    waited = [answer.ended - answer.due for answer in answers]
    assert all(seconds > STALL_S - number / 50 - 0.05 for number, seconds in enumerate(waited))
    assert [answer.number for answer in answers if not answer.ok] == [5]


def test_a_server_that_is_away_is_an_error_of_each_request() -> None:
    answers = list(Load("http://127.0.0.1:9", 100.0, paths, 10))
    assert [answer.status for answer in answers] == [0] * 10
