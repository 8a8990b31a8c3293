"""A stop is asked for at any moment, and heard where nothing is half done: nothing of it is lost."""

import signal
import subprocess
import sys

import pytest

BEGIN = """
import gc, os, signal, sys, time, weakref
from deploy.local.interrupts import interruptible, listen
def ask(): os.kill(os.getpid(), signal.SIGTERM)
listen()
"""


def said(body: str) -> str:
    done = subprocess.run([sys.executable, "-c", BEGIN + body], capture_output=True, text=True, timeout=30.0, check=False)
    # What ends a process that was interrupted is its own doing; here it is Python's traceback.
    return done.stdout + ("interrupted" if done.returncode == -signal.SIGINT else f"status {done.returncode}")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("ask()\nprint('done', end=' ')", "done status 0", id="outside-it-waits"),
        pytest.param("ask()\nwith interruptible(): print('too late')", "interrupted", id="and-is-heard-before-the-next-block"),
        pytest.param(
            "with interruptible():\n  ask()\n  time.sleep(20)\n  print('too late')", "interrupted", id="inside-it-comes-at-once"
        ),
        pytest.param(
            "class Held: pass\nheld = Held()\nwatch = weakref.ref(held, lambda gone: ask())\n"
            "with interruptible():\n  del held\n  print('swallowed', end=' ')\nprint('too late')",
            "swallowed interrupted",
            id="swallowed-by-a-callback-it-comes-at-the-end",
        ),
        pytest.param(
            "try:\n  with interruptible(): ask()\nexcept KeyboardInterrupt:\n  ask()\n  print('stopped', end=' ')",
            "stopped status 0",
            id="a-second-one-does-not-interrupt-the-stop",
        ),
    ],
)
def test_a_stop_is_heard_only_where_nothing_is_half_done(body: str, expected: str) -> None:
    assert said(body) == expected
