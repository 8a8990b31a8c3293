"""A few threads for slow work beside a flow, with no queue: what finds no free thread stays with its caller."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Workers:
    """At most `count` calls at once."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)

    def try_submit(self, call: Callable[[], T]) -> "Future[T] | None":
        """Start `call` on a free thread and return its future, or None if there is none."""
        if not self._free.acquire(blocking=False):
            return None
        future: Future[T] = Future()

        def work() -> None:
            try:
                result = call()
            except BaseException as error:
                self._free.release()
                future.set_exception(error)
            else:
                self._free.release()
                future.set_result(result)

        # The process ends without waiting for it: the flow's state says what was not done, and the next run does it.
        threading.Thread(target=work, name="worker", daemon=True).start()
        return future
