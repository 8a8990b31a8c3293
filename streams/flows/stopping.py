"""Whether this process was told to stop. One flow runs in a process, and signals are the process's too."""

import logging
import os
import signal
import threading
from types import FrameType

log = logging.getLogger(__name__)

STOPPING = threading.Event()

# A stop takes ten seconds at most, whatever a flow waits for: a longer time here is longer for everyone who stops it.
STOP_WITHIN_S = 8.0


def stop_on_signals() -> None:
    """Set `STOPPING` on SIGTERM and Ctrl-C. Bytewax alone would end at once, its sinks unclosed.

    A process that still runs `STOP_WITHIN_S` later is ended where it is, which loses no more than a crash: nothing.
    """
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    if not STOPPING.is_set():
        STOPPING.set()
        last = threading.Timer(STOP_WITHIN_S, _end)
        last.daemon = True
        last.start()


def _end() -> None:
    log.error("not done %g s after it was told to stop: ended; what came since the last snapshot is read again", STOP_WITHIN_S)
    os._exit(1)
