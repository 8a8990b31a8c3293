"""Our own processes, forked from one that has the heavy modules loaded already: what takes seconds to import is paid once."""

import logging
import multiprocessing
import os
import pkgutil
import signal
import sys
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from deploy.local.interrupts import interruptible
from deploy.local.process import StartFailed, die_with_parent, tail

_context = multiprocessing.get_context("forkserver")
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def warm_up(*modules: str) -> None:
    """Begin to load `modules` in the background, in the process that children are forked from."""
    _context.set_forkserver_preload(list(modules))
    forkserver.ensure_running()


def cool_down() -> None:
    """End the process that `warm_up` began, and wait for its end: by itself it would outlive us by a moment."""
    if (pid := _fork_server()._forkserver_pid) is not None:
        # Asked politely, it would first finish its imports, which takes many seconds on a busy machine.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _fork_server()._stop()


def _fork_server() -> Any:
    return forkserver._forkserver


class Child:
    """One of our processes: calls `target(*arguments)`, logs to a file of its own, and can't outlive us.

    `target` is named as "module:function", so that we don't import what only the child needs.
    """

    def __init__(self, name: str, target: str, *arguments: Any, log: Path) -> None:
        self.name, self.log = name, log
        self._target, self._arguments = target, arguments
        self._process: ForkServerProcess | None = None
        self._asked = False

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it, or start it again.

        Raises:
            StartFailed: it could not be forked.
        """
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            forkserver.ensure_running()
            parent = _fork_server()._forkserver_pid
            process = _context.Process(target=_enter, args=(self._target, self._arguments, self.log, parent), name=self.name)
            # The fork server answers when it has loaded its modules. What it forked for nobody ends with it.
            with interruptible():
                process.start()
        except (OSError, EOFError) as error:
            # The fork server is gone or can't fork; it is started again by the next try.
            raise StartFailed(f"{self.name} could not be forked: {type(error).__name__}: {error}") from error
        self._process, self._asked = process, False

    def ended(self) -> int | None:
        """Return the exit status, or None while it runs."""
        return None if self._process is None else self._process.exitcode

    def finish(self, *, timeout_s: float) -> None:
        """Wait for a child that ends by itself.

        Raises:
            StartFailed: it failed, or took longer.
        """
        assert self._process is not None
        with interruptible():
            self._process.join(timeout_s)
        if (status := self.ended()) != 0:
            self.stop(timeout_s=0.0)
            came = f"did not end within {timeout_s:g} s" if status is None else f"ended with status {status}"
            raise StartFailed(f"{self.name} {came}; {tail(self.log)}")

    def ask_to_stop(self) -> None:
        """Tell it to end, without waiting for it."""
        # Once: a second interrupt would break into the handling of the first.
        if self._process is not None and not self._asked:
            self._process.terminate()
            self._asked = True

    def stop(self, *, timeout_s: float) -> None:
        """End it: politely first, and for certain after `timeout_s`."""
        if self._process is None:
            return
        self.ask_to_stop()
        self._process.join(timeout_s)
        if self.ended() is None:
            self._process.kill()
            self._process.join()
        self._process.close()
        self._process = None


def _enter(target: str, arguments: tuple[Any, ...], log: Path, parent: int) -> None:
    # The parent, the fork server, ends when we do. A flow needs no time to say goodbye: it resumes from its last snapshot.
    die_with_parent(signal.SIGKILL, parent=parent)
    # A group of its own: Ctrl-C in the terminal is answered by the one who stops all in order.
    os.setpgrp()
    with log.open("ab") as output:
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())
    log_to_stderr()
    pkgutil.resolve_name(target)(*arguments)


def log_to_stderr() -> None:
    """Send this process' log to its standard error."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, force=True)
    # Feast tells of every look at its registry.
    logging.getLogger("feast").setLevel(logging.WARNING)
