"""One server process: started so that it can't outlive us, watched until it answers, stopped within a deadline."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deploy.local.interrupts import interruptible

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class NotReady(Exception):
    """What a health check raises while its server does not answer yet."""


class StartFailed(RuntimeError):
    """A server died or did not answer in time. The message ends with the last lines of its log."""


@dataclass(frozen=True)
class Server:
    """How one server is started, and how one knows that it serves."""

    name: str
    command: Sequence[str | Path]
    ready: Callable[[], object]
    """Returns once the server answers; raises NotReady or ConnectionError before."""
    environment: Mapping[str, str] = field(default_factory=dict)
    cleanup: Callable[[], None] = lambda: None
    """Removes what a killed server leaves behind."""
    deadline: str = "stack.start_timeout_s"
    """The option that says how long it may take to answer."""


def die_with_parent(sign: int = signal.SIGTERM, *, parent: int | None = None) -> None:
    """Ask the kernel to send this process `sign` when its parent ends, however it ends.

    `parent` is the parent's process id where it is known: a parent that ended before the kernel was asked ends us at once.
    Tied to the parent's *thread*: processes are started from a thread that lives as long as they should.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, sign, 0, 0, 0)
    if parent not in (None, os.getppid()):
        os.kill(os.getpid(), signal.SIGKILL)


class RunningServer:
    """A started server with its log file."""

    def __init__(self, server: Server, *, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.server, self.log = server, log
        self._asked = False
        self.started_at = time.monotonic()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(part) for part in server.command],
                env=os.environ | dict(server.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=partial(die_with_parent, parent=os.getpid()),
                # A group of its own: Ctrl-C in the terminal reaches us, and we stop the servers in order.
                process_group=0,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> int | None:
        """Return the exit status, or None while the server runs."""
        return self._process.poll()

    def wait_ready(self, *, timeout_s: float) -> float:
        """Return the seconds from the start until the server answered.

        Raises:
            StartFailed: it died, or did not answer in time.
        """
        while True:
            if (status := self.ended()) is not None:
                raise StartFailed(f"{self.server.name} ended with status {status} while starting; {tail(self.log)}")
            with interruptible():
                try:
                    self.server.ready()
                except (NotReady, ConnectionError) as error:
                    # Asked once at least: what else had to start first may have taken all the time.
                    if time.monotonic() > self.started_at + timeout_s:
                        raise StartFailed(
                            f"{self.server.name} did not answer within {timeout_s:g} s ({self.server.deadline}): {error}; "
                            f"{tail(self.log)}"
                        ) from error
                    time.sleep(0.05)
                else:
                    return time.monotonic() - self.started_at

    def ask_to_stop(self) -> None:
        """Tell the server to end, without waiting for it."""
        # Once: a second signal makes Triton crash in the middle of its shutdown.
        if not self._asked:
            self._process.terminate()
            self._asked = True

    def stop(self, *, timeout_s: float) -> None:
        """End the server: politely first, and for certain after `timeout_s`."""
        self.ask_to_stop()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # What it forked: a stub that Triton was about to start lives on for seconds.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.server.cleanup()


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, for an error's message."""
    last = log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
    return "\n".join([f"the end of {log}:", *last])
