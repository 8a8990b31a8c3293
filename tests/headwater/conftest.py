"""A whole house, started as a user starts it, for the tests that speak to it from outside."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


class RunningHouse:
    """`headwater up` in a process of its own, and how to reach it."""

    def __init__(self, folder: Path) -> None:
        self.environment = os.environ | {
            "HEADWATER_VAR": str(folder / "var"),
            "HEADWATER_STACK__MODELS_DIR": str(CHECKOUT / "var" / "models"),
            "HEADWATER_API__PORT": "0",
        }
        self.said = folder / "up.log"
        with self.said.open("w") as log:
            self.process = subprocess.Popen(
                [*HEADWATER, "up"], cwd=CHECKOUT, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.url = self._wait_for_address()

    def _wait_for_address(self, deadline_s: float = 120.0) -> str:
        end = time.monotonic() + deadline_s
        while time.monotonic() < end and self.process.poll() is None:
            for word in self.said.read_text().split():
                if word.startswith("http://") and " serves" in self.said.read_text():
                    return word
            time.sleep(0.1)
        raise AssertionError(f"the house did not come up: {self.said.read_text()}")

    def get(self, path: str) -> dict[str, object]:
        """Return the answer to a GET, as JSON."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            found: dict[str, object] = json.load(answer)
            return found

    def run(self, *arguments: str) -> str:
        """Run a `headwater` command against this house and return what it printed."""
        done = subprocess.run(
            [*HEADWATER, *arguments],
            cwd=CHECKOUT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> int:
        """Ask the house to stop, as Ctrl-C or a service manager does, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


HEADWATER = (sys.executable, "-c", "from headwater.cli import main; main()")


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHouse]:
    """One house for the session."""
    running = RunningHouse(tmp_path_factory.mktemp("house"))
    try:
        yield running
    finally:
        code = running.stop()
    assert code == 0, running.said.read_text()
