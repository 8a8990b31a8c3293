"""A whole `headwater up` in a process of its own, as a user starts it, whose processes can be found, measured and killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from bench.stack import Running
from deploy.local.endpoints import running
from deploy.local.process import die_with_parent, tail
from headwater.flows import FLOWS
from headwater.settings import Settings, load

FLOW_PROCESSES = tuple(f"flow-{name}" for name in FLOWS)
# What may be killed while nothing is lost. The broker is not among them: the embedded one forgets all.
MORTAL = (*FLOW_PROCESSES, "api", "redis", "triton")
# Longer than on any machine that is fit for what is measured; a busy one shall not fail for its start.
START_TIMEOUT_S = 300.0


class Up:
    """A running house. A process is known by the log that it writes, `var/log/<name>.log`."""

    def __init__(self, process: "subprocess.Popen[bytes]", settings: Settings, url: str, said: Path) -> None:
        self.process = process
        self.running = Running(settings, url)
        self.said = said

    def families(self) -> dict[str, list[psutil.Process]]:
        """Return the processes by name that run now, each with its own helpers after it; the house itself is `up`."""
        logs = (self.running.settings.var / "log").resolve()
        house = psutil.Process(self.process.pid)
        found = {"up": [house]}
        # A server's own children write to its log, too: parents come before their children.
        for process in house.children(recursive=True):
            try:
                log = Path(os.readlink(f"/proc/{process.pid}/fd/1"))
                alive = process.status() != psutil.STATUS_ZOMBIE
            except (OSError, psutil.NoSuchProcess):
                continue
            if alive:
                found.setdefault(log.stem if log.parent == logs else "up", []).append(process)
        return found

    def send(self, name: str, sign: signal.Signals, *, timeout_s: float = 60.0) -> psutil.Process:
        """Send `sign` to the process `name`, once it runs, and return that process."""
        deadline = time.monotonic() + timeout_s
        while not (family := self.families().get(name)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no process {name} within {timeout_s:g} s; {tail(self.said)}")
            time.sleep(0.05)
        family[0].send_signal(sign)
        return family[0]

    def stop(self, *, timeout_s: float = 30.0) -> float:
        """Stop the house as a service manager does and return how long that took, in seconds."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout_s)
        return time.monotonic() - began


@contextmanager
def up(options: Mapping[str, object]) -> Iterator[Up]:
    """Yield a house in a temporary folder. `options` are settings by their dotted names, over the defaults."""
    usual = load()
    with TemporaryDirectory(prefix="headwater-bench-") as folder:
        var = Path(folder) / "var"
        given = {
            "api.port": 0,
            "stack.triton_env": usual.stack.triton_env.absolute(),
            "stack.vllm_env": usual.stack.vllm_env.absolute(),
            "stack.models_dir": usual.stack.models_dir.absolute(),
            "stack.start_timeout_s": START_TIMEOUT_S,
            "learning.every_s": 0,
        } | dict(options)
        environment = {f"HEADWATER_{name.upper().replace('.', '__')}": str(value) for name, value in given.items()}
        said = Path(folder) / "up.log"
        with said.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", "from headwater.cli import main; main()", "up"],
                cwd=folder,
                env=os.environ | environment | {"HEADWATER_VAR": str(var)},
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,
            )
        try:
            yield _started(process, Settings(var=var), said)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30.0)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _started(process: "subprocess.Popen[bytes]", settings: Settings, said: Path) -> Up:
    deadline = time.monotonic() + START_TIMEOUT_S
    while (endpoints := running(settings.var)) is None or not endpoints.api:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"`headwater up` did not come up; {tail(said)}")
        time.sleep(0.1)
    return Up(process, settings.at(endpoints), f"http://{endpoints.api}", said)
