"""Ctrl-C and SIGTERM, heard only where nothing is half done.

An exception out of a signal's handler may come between a fork and the note that there is a child now; and where Python
itself calls back, as it does after a fork, it is swallowed.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class _Interrupts:
    """A process has one set of signals, and thereby one of these."""

    def __init__(self) -> None:
        self._asked = self._hears = False

    def listen(self) -> None:
        """Let Ctrl-C and SIGTERM wait for the next block that is `interruptible`, from now on."""
        for sign in (signal.SIGINT, signal.SIGTERM):
            # Explicitly: what a shell starts in the background ignores Ctrl-C.
            signal.signal(sign, self._note)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM end the block with a KeyboardInterrupt, at its end at the latest."""
        try:
            self._hears = True
            self._raise_if_asked()
            yield
        finally:
            self._hears = False
        self._raise_if_asked()

    def asked(self) -> bool:
        """Return whether a signal came: for an event loop, in whose tasks an exception would end anywhere."""
        return self._asked

    def _raise_if_asked(self) -> None:
        if self._asked:
            raise KeyboardInterrupt

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked = True
        if self._hears:
            # Pressed twice, Ctrl-C must not interrupt the stop that it began.
            self._hears = False
            raise KeyboardInterrupt


_interrupts = _Interrupts()
listen, interruptible, asked = _interrupts.listen, _interrupts.interruptible, _interrupts.asked
