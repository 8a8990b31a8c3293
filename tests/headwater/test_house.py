"""The whole house with its real processes: what dies is started again, what is stopped leaves nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.endpoints import Endpoints, running
from headwater.settings import Settings
from streams.kafka import check_broker, create_topics
from tests.faults.world import until

CHECKOUT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.stack


class Up:
    """`headwater up` in a folder of its own, with what it printed."""

    def __init__(self, folder: Path) -> None:
        self.var = folder / "var"
        self.printed = folder / "printed"
        environment = {
            "HEADWATER_VAR": str(self.var),
            "HEADWATER_API__PORT": "0",
            "HEADWATER_STACK__MODELS_DIR": str(CHECKOUT / "var" / "models"),
        }
        with self.printed.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from headwater.cli import main; main()", "up"],
                cwd=folder, env=os.environ | environment, stdout=output, stderr=output,
            )  # fmt: skip
        until(lambda: self.endpoints() or self.process.poll() is not None, within_s=90.0)
        assert self.process.poll() is None, self.printed.read_text()
        self.look_again()

    def look_again(self) -> None:
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def endpoints(self) -> Endpoints | None:
        return running(self.var)

    def says(self, text: str) -> bool:
        return text in self.printed.read_text()

    def left(self) -> list[psutil.Process]:
        return [process for process in self.family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]

    def child(self, name: str) -> psutil.Process:
        return next(process for process in self.family if name in (process.name(), *process.cmdline()))


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    house = Up(tmp_path)
    yield house
    house.process.kill()
    house.process.wait()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_clean_and_leaves_no_process(up: Up, sign: signal.Signals):
    up.process.send_signal(sign)
    assert up.process.wait(timeout=10.0) == 0
    # Python's own resource tracker ends at the end of ours, a moment after it.
    until(lambda: not up.left(), within_s=2.0)
    assert up.endpoints() is None


def test_what_dies_is_started_again_and_nothing_outlives_a_killed_house(up: Up):
    endpoints = up.endpoints()
    assert endpoints is not None
    up.child("redis-server").kill()
    until(lambda: up.says("redis runs again"), within_s=20.0)

    # The embedded broker comes back empty: topics are created again, and the flows begin again with it.
    up.child("deploy.local.broker").kill()
    until(lambda: up.says("broker runs again"), within_s=40.0)
    assert up.says("recovery snapshots of its last run were dropped")
    kafka = Settings.model_validate({}).at(endpoints).kafka
    assert check_broker(kafka, timeout_s=5.0) == 1
    assert create_topics(kafka) == []

    up.look_again()
    up.process.kill()
    up.process.wait()
    until(lambda: not up.left(), within_s=15.0)
