"""`headwater up`: the whole house, until somebody stops it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event

from rich.console import Console

from deploy.local.interrupts import listen
from headwater.house import House
from headwater.settings import Settings


def up(settings: Settings, console: Console) -> None:
    """Run everything until Ctrl-C or SIGTERM, then stop it; nothing is left behind."""
    with run_house(settings, console) as house:
        console.print(f"[bold]{house.address}[/bold] serves; Ctrl-C stops everything")
        house.keep(until=Event())


@contextmanager
def run_house(settings: Settings, console: Console) -> Iterator[House]:
    """Give a started house to the block, which Ctrl-C and SIGTERM end where it is `interruptible`; then stop the house."""
    house = House(settings, partial(_say, console))
    listen()
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
        house.stop()
        _say(console, "stopped")


def _say(console: Console, line: str) -> None:
    # Into a file on a full disk, or a pipe that nobody reads any more, nothing can be said; the house goes on.
    with suppress(OSError):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
