"""Something done again and again beside the rest: heartbeats, the operator's numbers, the feed's shelves."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def every(seconds: float, do: Callable[[], object], *, name: str, wait_s: float = 2.0) -> Iterator[None]:
    """Call `do` every so many seconds, on a thread called `name`, as long as the block runs.

    What it raises is logged, and it is called again: a thread that dies silently leaves what it renews as it is for ever.
    At the end a call under way is given `wait_s`.
    """
    ending = threading.Event()

    def run() -> None:
        while not ending.wait(seconds):
            try:
                do()
            except Exception:
                log.exception("%s failed, and goes on", name)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(wait_s)
