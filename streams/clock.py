"""The time, as flows and tests pass it around."""

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], int]
"""Returns the time, Unix ms."""


def now_ms() -> int:
    """Return the time, Unix ms."""
    return time.time_ns() // 1_000_000
