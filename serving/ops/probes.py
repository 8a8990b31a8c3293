"""Whether each server answers, and how fast: asked every second, by threads that may hang without anyone waiting for them."""

import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from msgspec import Struct

# One that takes longer to answer is as good as away.
_OVERDUE_S = 2.0


class Answer(Struct, frozen=True):
    """How a server answered last. `took_ms` is None where it did not."""

    ok: bool
    detail: str
    took_ms: float | None


class Probe:
    """Asks one server, in the background, and keeps its last answer. `ask` raises where the server is not well."""

    def __init__(self, name: str, ask: Callable[[], object], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._ask = ask
        self._monotonic = monotonic
        self._answer = Answer(False, "not asked yet", None)
        self._asked_at = 0.0
        self._asking: Future[Answer] | None = None

    def look(self, threads: ThreadPoolExecutor) -> Answer:
        """Return the last answer, and ask again unless the last question is still open."""
        if self._asking is not None and self._asking.done():
            self._answer, self._asking = self._asking.result(), None
        if self._asking is None:
            self._asked_at = self._monotonic()
            self._asking = threads.submit(self._take)
        elif (waited_s := self._monotonic() - self._asked_at) > _OVERDUE_S:
            self._answer = Answer(False, f"no answer for {waited_s:.0f} s", None)
        return self._answer

    def _take(self) -> Answer:
        asked_at = self._monotonic()
        try:
            self._ask()
        except Exception as error:
            return Answer(False, str(error)[:300] or type(error).__name__, None)
        return Answer(True, "answers", (self._monotonic() - asked_at) * 1000)


def triton_is_ready(http_url: str) -> Callable[[], object]:
    """Return what asks the Triton at `http_url` (host:port) whether it and all its models are ready."""
    address = (http_url if "://" in http_url else f"http://{http_url}").rstrip("/") + "/v2/health/ready"

    def ask() -> None:
        urllib.request.urlopen(address, timeout=1.0).close()

    return ask
