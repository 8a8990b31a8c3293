"""What tests of every room share: the real servers and a whole house, each started once a session, and the real data."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from deploy.local.endpoints import Endpoints
from deploy.local.stack import Stack
from headwater.settings import Settings
from streams.kafka import create_topics

# No test is timed: on a busy machine the slowest of a hundred examples says nothing of our code.
hypothesis_settings.register_profile("headwater", deadline=None)
hypothesis_settings.load_profile("headwater")

CHECKOUT = Path(__file__).resolve().parents[1]
HEADWATER = (sys.executable, "-c", "from headwater.cli import main; main()")


@dataclass(frozen=True)
class RunningStack:
    """Real servers on free ports; `settings` has their addresses, and all that is written lies in a folder of the test."""

    settings: Settings
    endpoints: Endpoints


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Broker, Redis and Triton with topics created and the feature repo applied."""
    from feature_repo import store

    var = tmp_path_factory.mktemp("stack") / "var"
    # The exported models are the checkout's: exporting them takes longer than all that is tested with them.
    settings = Settings.model_validate({"var": var, "stack": {"models_dir": CHECKOUT / "var" / "models"}})
    servers = Stack(settings.stack, kafka=settings.kafka, features=settings.features, triton=settings.triton, var=settings.var)
    with servers:
        settings = settings.at(servers.endpoints)
        create_topics(settings.kafka)
        store.apply(settings.features)
        yield RunningStack(settings, servers.endpoints)


@pytest.fixture(scope="session")
def ranker_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ranker as a training leaves it; its export takes longer than all that is tested with it."""
    from tests.ranker import write

    return write(tmp_path_factory.mktemp("ranker"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real clips and interactions, which is never part of the repository."""
    folder = Path(os.environ.get("HEADWATER_DATA", CHECKOUT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set HEADWATER_DATA to a folder with clips/ and microlens/")
    return folder


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
        try:
            self.url = self._wait_for_address()
        except BaseException:
            self.stop()
            raise

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


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHouse]:
    """One house for the session."""
    running = RunningHouse(tmp_path_factory.mktemp("house"))
    try:
        yield running
    finally:
        code = running.stop()
    assert code == 0, running.said.read_text()
