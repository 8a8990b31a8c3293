"""`headwater up`: the whole house, until somebody stops it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event
from types import FrameType

from rich.console import Console

from headwater.house import House
from headwater.settings import Settings


def up(settings: Settings, console: Console) -> None:
    """Run everything until Ctrl-C or SIGTERM, then stop it; nothing is left behind."""
    with run_house(settings, console) as house:
        console.print(f"[bold]{house.address}[/bold] serves; Ctrl-C stops everything")
        house.keep(until=Event())


@contextmanager
def run_house(settings: Settings, console: Console) -> Iterator[House]:
    """Give a started house to the block, which Ctrl-C and SIGTERM end; then stop the house."""
    house = House(settings, partial(_say, console))
    for sign in (signal.SIGINT, signal.SIGTERM):
        # Explicitly: what a shell starts in the background ignores Ctrl-C.
        signal.signal(sign, _interrupt)
    started = False
    try:
        house.start()
        started = True
        yield house
    except KeyboardInterrupt:
        _say(console, "stopping …")
        if not started:
            raise SystemExit(130) from None
    finally:
        # Pressed twice, Ctrl-C must not interrupt the stop, which takes stack.stop_timeout_s a step at most.
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, signal.SIG_IGN)
        house.stop()
        _say(console, "stopped")


def _say(console: Console, line: str) -> None:
    # Into a file on a full disk, or a pipe that nobody reads any more, nothing can be said; the house goes on.
    with suppress(OSError):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
