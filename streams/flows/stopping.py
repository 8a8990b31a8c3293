"""Whether this process was told to stop. One flow runs in a process, and signals are the process's too."""

import signal
import threading
from types import FrameType

STOPPING = threading.Event()


def stop_on_signals() -> None:
    """Set `STOPPING` on SIGTERM and Ctrl-C. Bytewax alone would end at once, its sinks unclosed."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    STOPPING.set()
