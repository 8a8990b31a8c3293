"""The local stack with its real servers: what it starts, what it says, and that it leaves nothing behind."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.local.process import NotReady, RunningServer, Server, StartFailed
from deploy.local.stack import Stack
from deploy.local.triton import check_models
from feature_repo.settings import FeatureStoreSettings
from headwater.settings import Settings
from models.settings import TritonSettings
from streams.kafka import KafkaSettings, check_broker

NO_TRITON = TritonSettings(grpc_url="127.0.0.1:1")


def stack_in(var: Path, *, kafka: str = "", triton: TritonSettings = NO_TRITON) -> Stack:
    settings = Settings.model_validate({"var": var}).stack
    return Stack(
        settings, kafka=KafkaSettings(bootstrap_servers=kafka), features=FeatureStoreSettings(), triton=triton, var=var
    )


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        time.sleep(0.02)


@pytest.mark.stack
def test_every_server_answers_at_its_endpoint(stack):
    assert check_broker(stack.settings.kafka, timeout_s=5.0) == 1
    check_models(stack.endpoints.triton_http)
    assert stack.endpoints.embedded == ("broker", "redis", "triton")


@pytest.mark.stack
def test_a_stopped_stack_leaves_no_process(tmp_path: Path):
    before = set(psutil.Process().children(recursive=True))
    with stack_in(tmp_path):
        started = set(psutil.Process().children(recursive=True)) - before
        assert "redis-server" in {process.name() for process in started}
        assert any("deploy.local.broker" in process.cmdline() for process in started)
    assert not set(psutil.Process().children(recursive=True)) - before


@pytest.mark.stack
def test_a_server_that_is_configured_is_not_started(tmp_path: Path):
    servers = stack_in(tmp_path, kafka="broker.example:9092")
    assert servers.endpoints.kafka == "broker.example:9092"
    assert servers.endpoints.embedded == ("redis",)


@pytest.mark.stack
def test_servers_end_with_a_parent_that_is_killed(tmp_path: Path):
    program = (
        "import sys, signal; from pathlib import Path; from tests.deploy.test_stack import stack_in\n"
        f"stack_in(Path({str(tmp_path)!r})).start(); print('started', flush=True); signal.pause()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "started\n"
    servers = psutil.Process(parent.pid).children(recursive=True)
    assert len(servers) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not any(server.is_running() for server in servers))


@pytest.mark.stack
def test_a_server_that_died_is_seen_and_started_again_at_its_address(tmp_path: Path):
    with stack_in(tmp_path) as servers:
        broker = next(child for child in psutil.Process().children() if is_broker(child, servers))
        broker.kill()
        wait_until(lambda: servers.ended() == {"broker": -signal.SIGKILL})
        servers.restart("broker")
        assert check_broker(KafkaSettings(bootstrap_servers=servers.endpoints.kafka), timeout_s=5.0) == 1


def is_broker(process: psutil.Process, servers: Stack) -> bool:
    command = process.cmdline()
    return "deploy.local.broker" in command and servers.endpoints.kafka.rpartition(":")[2] in command


def test_a_server_that_dies_at_its_start_is_reported_with_the_end_of_its_log(tmp_path: Path):
    def never() -> None:
        raise ConnectionError("no answer")

    server = Server("teapot", ["sh", "-c", "echo I am a teapot; exit 3"], ready=never)
    with pytest.raises(StartFailed, match=r"teapot ended with status 3(.|\n)*I am a teapot"):
        RunningServer(server, log=tmp_path / "teapot.log").wait_ready(timeout_s=10.0)


def test_a_server_that_does_not_answer_in_time_is_reported_with_the_reason(tmp_path: Path):
    def never() -> None:
        raise ConnectionError("still asleep")

    running = RunningServer(Server("sleeper", ["sleep", "60"], ready=never), log=tmp_path / "sleeper.log")
    with pytest.raises(StartFailed, match=r"sleeper did not answer within 0\.2 s.*still asleep"):
        running.wait_ready(timeout_s=0.2)
    running.stop(timeout_s=5.0)
    assert running.ended() is not None


def test_what_a_server_forked_ends_with_it(tmp_path: Path):
    forked = tmp_path / "forked"

    def ready() -> None:
        if not (forked.exists() and forked.read_text().endswith("\n")):
            raise NotReady("nothing is forked yet")

    running = RunningServer(
        Server("parent", ["sh", "-c", f"sleep 60 & echo $! > {forked}; wait"], ready=ready), log=tmp_path / "log"
    )
    running.wait_ready(timeout_s=10.0)
    child = psutil.Process(int(forked.read_text()))
    running.stop(timeout_s=5.0)
    child.wait(5.0)


def test_a_process_whose_parent_is_gone_already_ends_at_once():
    dies = "from deploy.local.process import die_with_parent; die_with_parent(parent=1 << 22); print('lives on')"
    done = subprocess.run([sys.executable, "-c", dies], capture_output=True, text=True, timeout=30.0, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
