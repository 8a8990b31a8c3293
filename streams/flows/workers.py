"""A few threads for slow work beside a flow, with no queue: what finds no free thread stays with its caller."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Workers:
    """At most `count` calls at once."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")

    def try_submit(self, call: Callable[[], T]) -> "Future[T] | None":
        """Start `call` on a free thread and return its future, or None if there is none."""
        if not self._free.acquire(blocking=False):
            return None
        future = self._threads.submit(call)
        future.add_done_callback(lambda _: self._free.release())
        return future
