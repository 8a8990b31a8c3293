"""An open-loop HTTP load in a process of its own: requests go out when they are due, whether or not earlier ones came back.

Latency counts from the moment a request was due: a server that stalls is charged for all who waited (no coordinated
omission).
"""

import http.client
import multiprocessing
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

# Requests on their way at once. At the promised rates a handful is in use; a stalled server is met by all of them.
CONNECTIONS = 64
TIMEOUT_S = 10.0

_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """What became of request `number`. Times are `time.monotonic()`, which all processes of a machine share; status 0: none."""

    number: int
    due: float
    began: float
    ended: float
    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Load:
    """Sends the requests of `make(*arguments)` (called in the load's process) to `url` at `per_s`. Iterate over the answers."""

    def __init__(self, url: str, per_s: float, make: Callable[..., Iterable[Request]], *arguments: Any) -> None:
        self._answers: multiprocessing.Queue[Answer | None] = _spawn.Queue()
        self._process = _spawn.Process(target=_run, args=(url, per_s, self._answers, make, arguments), daemon=True)
        self._process.start()

    def __iter__(self) -> "Load":
        return self

    def __next__(self) -> Answer:
        while True:
            try:
                answer = self._answers.get(timeout=1.0)
            except queue.Empty:
                if not self._process.is_alive():
                    raise RuntimeError(f"the load ended with status {self._process.exitcode}") from None
            else:
                if answer is None:
                    self._process.join()
                    raise StopIteration
                return answer


def _run(
    url: str, per_s: float, answers: "multiprocessing.Queue[Answer | None]", make: Callable[..., Iterable[Request]], given: Any
) -> None:
    # All are made before the first is sent: making them would be counted as their latency.
    requests = list(make(*given))
    due: queue.Queue[tuple[int, float, Request] | None] = queue.Queue()
    threads = [threading.Thread(target=_send, args=(url, due, answers)) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    start = time.monotonic() + 0.2
    for number, request in enumerate(requests):
        at = start + number / per_s
        time.sleep(max(0.0, at - time.monotonic()))
        due.put((number, at, request))
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join()
    answers.put(None)


def _send(
    url: str, due: "queue.Queue[tuple[int, float, Request] | None]", answers: "multiprocessing.Queue[Answer | None]"
) -> None:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_S)
    headers = {"Content-Type": "application/json"}
    while (item := due.get()) is not None:
        number, at, request = item
        began = time.monotonic()
        try:
            connection.request(request.method, request.path, request.body, headers)
            response = connection.getresponse()
            status, body = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            status, body = 0, repr(error).encode()
        answers.put(Answer(number, at, began, time.monotonic(), status, body))
    connection.close()
