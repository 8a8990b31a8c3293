"""What the tests of faults share: servers that can be paused, killed and cut off, a house that uses them, and waiting."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from deploy.local import kafka, redis, triton
from deploy.local.ports import LOOPBACK, choose
from deploy.local.process import RunningServer, Server
from deploy.local.triton import TritonPorts
from headwater.settings import Settings, load
from streams.topics import TOPICS

CHECKOUT = Path(__file__).resolve().parents[2]
MODELS = CHECKOUT / "var" / "models"
HEADWATER = (sys.executable, "-c", "from headwater.cli import main; main()")


def until(condition: Callable[[], object], *, within_s: float = 30.0, what: object = "") -> None:
    """Return once `condition()` holds, or fail. An answer that did not come is no failure yet."""
    deadline = time.monotonic() + within_s
    while True:
        with suppress(httpx.TransportError, psutil.NoSuchProcess):
            if condition():
                return
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what() if callable(what) else what}"
        time.sleep(0.05)


class Gate:
    """A way to a server that can be shut: connections are then refused, and those there were are gone.

    It lets a broker that forgets all when it stops be away as a dead one is, and come back with its data as a durable one does.
    """

    def __init__(self) -> None:
        self.port = choose(0, setting="gate")
        self.target = choose(0, setting="target")
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.open()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def open(self) -> None:
        listener = socket.create_server((LOOPBACK, self.port), backlog=64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            # A blocked accept holds the port until it is woken.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            for pair in self._pairs:
                for end in pair:
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
            self._pairs.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                try:
                    server = socket.create_connection((LOOPBACK, self.target), timeout=5.0)
                except OSError:
                    client.close()
                    continue
                for end in (client, server):
                    end.settimeout(None)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._pairs.append((client, server))
                threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        with suppress(OSError), client, server:
            while True:
                for end in select.select([client, server], [], [])[0]:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    other[end].sendall(data)


class Servers:
    """Broker, Redis and Triton, each of which can be away: `hang` stops it from answering, `refuse` from being there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.gate = Gate()
        self.redis_port = choose(0, setting="redis")
        self.triton_ports = TritonPorts(*(choose(0, setting="triton") for _ in range(3)))
        usual = Settings.model_validate({}).stack
        models, env = MODELS, usual.triton_env
        self._servers = {
            "broker": _behind(self.gate, folder / "broker"),
            "redis": redis.server(self.redis_port, folder / "redis"),
            "triton": triton.server(self.triton_ports, environment=env, models_dir=models, folder=folder / "triton"),
        }
        self._running: dict[str, RunningServer] = {}
        for name in self._servers:
            self._start(name)

    @property
    def environment(self) -> dict[str, str]:
        """What a house needs to use these servers instead of its own."""
        partitions = ",".join(f'"{topic.name}":1' for topic in TOPICS)
        return {
            "HEADWATER_KAFKA__BOOTSTRAP_SERVERS": self.gate.address,
            "HEADWATER_KAFKA__PARTITIONS": "{" + partitions + "}",
            "HEADWATER_FEATURES__CONNECTION_STRING": f"{LOOPBACK}:{self.redis_port}",
            "HEADWATER_TRITON__GRPC_URL": f"{LOOPBACK}:{self.triton_ports.grpc}",
            "HEADWATER_TRITON__HTTP_URL": f"{LOOPBACK}:{self.triton_ports.http}",
        }

    def wait_ready(self) -> None:
        for running in self._running.values():
            running.wait_ready(timeout_s=90.0)

    @contextmanager
    def away(self, name: str, how: str) -> Iterator[None]:
        """While the block runs, server `name` is away: it "hangs", or connections are "refused"."""
        running = self._running[name]
        if how == "hangs":
            family = _family(running.pid)
            for process in family:
                process.suspend()
            try:
                yield
            finally:
                for process in reversed(family):
                    process.resume()
        elif name == "broker":
            self.gate.shut()
            try:
                yield
            finally:
                self.gate.open()
        else:
            os.kill(running.pid, signal.SIGKILL)
            running.stop(timeout_s=5.0)
            try:
                yield
            finally:
                self._start(name)

    def stop(self) -> None:
        for running in self._running.values():
            running.ask_to_stop()
        for running in self._running.values():
            running.stop(timeout_s=5.0)
        self.gate.shut()

    def _start(self, name: str) -> None:
        self._running[name] = RunningServer(self._servers[name], log=self._folder / "log" / f"{name}.log")


def _behind(gate: Gate, folder: Path) -> Server:
    server = kafka.server(gate.target, folder)
    return Server(name=server.name, command=[*server.command, "--advertised", gate.address], ready=server.ready)


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


class House:
    """`headwater up` in a process of its own, with what it printed, and the way to its API."""

    def __init__(self, folder: Path, *prefix: str, **environment: str) -> None:
        """Prepare it; `prefix` is a command that runs it."""
        self.folder = folder
        self.var = folder / "var"
        self.printed = folder / "printed"
        self.environment = os.environ | {
            "HEADWATER_VAR": str(self.var),
            "HEADWATER_API__PORT": "0",
            "HEADWATER_STACK__MODELS_DIR": str(MODELS),
            "HEADWATER_FLOWS__FEEDBACK_SILENCE_S": "2",
            "HEADWATER_FLOWS__FEEDBACK_GRACE_S": "1",
            "HEADWATER_FLOWS__PERCEIVE_RETRY_MAX_S": "2",
            "HEADWATER_API__ACCEPT_TIMEOUT_S": "2",
            # These tests count seconds and megabytes, and last longer than it takes until models learn.
            "HEADWATER_LEARNING__EVERY_S": "0",
            # Hosts of media are servers of the tests, on loopback.
            "HEADWATER_MEDIA__PRIVATE_HOSTS": '["127.0.0.1"]',
            "HEADWATER_MEDIA__FETCH_TIMEOUT_S": "4",
            **environment,
        }
        self._command = [*prefix, *HEADWATER, "up"]
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Begin to start it."""
        with self.printed.open("wb") as output:
            self.process = subprocess.Popen(self._command, cwd=self.folder, env=self.environment, stdout=output, stderr=output)

    def wait_serving(self, *, within_s: float = 150.0) -> None:
        """Return once its API serves."""
        until(lambda: self.says(" serves") or self.process.poll() is not None, within_s=within_s, what=self.text)
        assert self.process.poll() is None, self.text()
        self.url = next(word for word in self.text().split() if word.startswith("http://") and word != "http://")
        self.http = httpx.Client(base_url=self.url, timeout=15.0)

    def text(self) -> str:
        return self.printed.read_text()

    def says(self, *words: str) -> bool:
        """Tell whether one line that it printed has all of these words."""
        return any(all(word in line for word in words) for line in self.text().splitlines())

    def log(self, name: str) -> str:
        path = self.var / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels."""
        lines = self.http.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    def check(self, name: str) -> tuple[str, bool]:
        """Return what /readyz says: its status, and whether this check is fine."""
        answer = self.http.get("/readyz").json()
        return answer["status"], next(check["ok"] for check in answer["checks"] if check["name"] == name)

    def videos(self) -> int:
        """Return how many videos the API knows."""
        return int(self.http.get("/readyz").json()["videos"])

    def family(self) -> list[psutil.Process]:
        """Return the processes that run below it now."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def piece(self, name: str) -> psutil.Process | None:
        """Return the process of a flow or of the API: the one that writes that log."""
        for process in self.family():
            with suppress(OSError, psutil.Error):
                if os.readlink(f"/proc/{process.pid}/fd/1") == str((self.var / "log" / f"{name}.log").resolve()):
                    return process
        return None

    def settings(self) -> Settings:
        """Return the settings it runs with, addresses included."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            return load()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def stop(self, *, within_s: float = 30.0) -> int:
        """Ask it to stop, as a service manager does, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run."""
    running = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                running.append(process)
    return running
