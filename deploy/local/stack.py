"""The servers that are not configured as external: started together, stopped together, none left behind."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local import kafka as embedded_kafka
from deploy.local import redis, triton, vllm
from deploy.local.endpoints import Endpoints
from deploy.local.ports import LOOPBACK, choose
from deploy.local.process import RunningServer, Server
from deploy.local.triton import TritonPorts
from deploy.settings import StackSettings
from feature_repo.settings import FeatureStoreSettings
from models.settings import TritonSettings
from streams.kafka import KafkaSettings

log = logging.getLogger(__name__)

Report = Callable[[str, float], None]


class Stack:
    """Broker, Redis and Triton; an address in the settings replaces the server of that kind. vLLM, where it is wanted.

    Start it from a thread that outlives it: the servers end when that thread does.
    """

    def __init__(
        self,
        settings: StackSettings,
        *,
        kafka: KafkaSettings,
        features: FeatureStoreSettings,
        triton: TritonSettings,
        var: Path,
        language_model: bool = False,
    ) -> None:
        """Choose ports and find programs, so that what is missing is said before anything starts.

        Raises:
            PortTaken, BinaryMissing: with what to do.
        """
        self._settings = settings
        self._logs = var / "log"
        self._running: dict[str, RunningServer] = {}
        self._servers: list[Server] = []
        addresses = {
            "kafka": kafka.bootstrap_servers,
            "redis": features.connection_string,
            "triton_grpc": triton.grpc_url,
            "triton_http": triton.http_url,
        }
        if not kafka.bootstrap_servers:
            port = choose(settings.kafka_port, setting="stack.kafka_port")
            self._servers.append(embedded_kafka.server(port, var / "broker"))
            addresses["kafka"] = f"{LOOPBACK}:{port}"
        if not features.connection_string:
            port = choose(settings.redis_port, setting="stack.redis_port")
            self._servers.append(redis.server(port, var / "redis"))
            addresses["redis"] = f"{LOOPBACK}:{port}"
        if not triton.grpc_url:
            ports = _triton_ports(settings)
            self._servers.append(_triton(ports, settings, var))
            addresses |= {"triton_grpc": f"{LOOPBACK}:{ports.grpc}", "triton_http": f"{LOOPBACK}:{ports.http}"}
        if language_model:
            port = choose(settings.vllm_port, setting="stack.vllm_port")
            self._servers.append(
                vllm.server(port, environment=settings.vllm_env, models_dir=settings.models_dir, folder=var / "vllm")
            )
            addresses["vllm"] = f"{LOOPBACK}:{port}"
        self.endpoints = Endpoints(**addresses, embedded=tuple(server.name for server in self._servers))

    def start(self, report: Report = lambda name, seconds: None) -> None:
        """Start every server and return when all answer; `report(name, seconds)` is called for each.

        Raises:
            StartFailed: one did not; the others are stopped again.
        """
        try:
            self.launch()
            with ThreadPoolExecutor(len(self._servers) or 1) as pool:
                waits = {pool.submit(self.wait_ready, server.name): server.name for server in self._servers}
                for wait in as_completed(waits):
                    report(waits[wait], wait.result())
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Start every server without waiting for any."""
        for server in self._servers:
            self._launch(server)

    def wait_ready(self, name: str) -> float:
        """Return the seconds that server `name` took to answer; 0 for an external one."""
        running = self._running.get(name)
        timeout_s = self._settings.vllm_start_timeout_s if name == vllm.NAME else self._settings.start_timeout_s
        return 0.0 if running is None else running.wait_ready(timeout_s=timeout_s)

    def ended(self) -> dict[str, int]:
        """Return the exit status of each server that ended by itself."""
        return {name: status for name, server in self._running.items() if (status := server.ended()) is not None}

    def pid(self, name: str) -> int | None:
        """Return the process id of server `name`, None where it is not ours."""
        running = self._running.get(name)
        return None if running is None else running.pid

    def restart(self, name: str) -> float:
        """Start server `name` again, on its old address, and return the seconds it took to answer."""
        self.relaunch(name)
        return self.wait_ready(name)

    def relaunch(self, name: str) -> None:
        """Start server `name` again, on its old address, without waiting for it."""
        server = next(server for server in self._servers if server.name == name)
        self._running.pop(name).stop(timeout_s=self._settings.stop_timeout_s)
        self._launch(server)

    def stop(self) -> None:
        """Stop the servers, all at once: what used them is gone by now. Safe to call twice."""
        for server in self._running.values():
            server.ask_to_stop()
        deadline = time.monotonic() + self._settings.stop_timeout_s
        while self._running:
            _, server = self._running.popitem()
            server.stop(timeout_s=max(0.0, deadline - time.monotonic()))

    def _launch(self, server: Server) -> None:
        self._running[server.name] = RunningServer(server, log=self._logs / f"{server.name}.log")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _triton_ports(settings: StackSettings) -> TritonPorts:
    return TritonPorts(
        grpc=choose(settings.triton_grpc_port, setting="stack.triton_grpc_port"),
        http=choose(settings.triton_http_port, setting="stack.triton_http_port"),
        metrics=choose(settings.triton_metrics_port, setting="stack.triton_metrics_port"),
    )


def _triton(ports: TritonPorts, settings: StackSettings, var: Path) -> Server:
    return triton.server(ports, environment=settings.triton_env, models_dir=settings.models_dir, folder=var / "triton")
