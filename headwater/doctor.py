"""`headwater doctor`: what is right and wrong with an installation, and what to do about it."""

import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

from deploy.local import binaries, triton
from deploy.local.binaries import CHECKOUT, BinaryMissing
from deploy.local.ports import PortTaken, choose
from deploy.local.process import NotReady
from deploy.local.redis import connect, ping
from headwater.settings import Settings
from streams.kafka import check_broker

State = Literal["ok", "warn", "fail"]
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}

# The servers, four flows and the API with 100,000 videos take about this much together.
WANTED_MEMORY = 4 * 1024**3
# Both environments and the models take 4 GB; the rest is logs and features.
WANTED_DISK = 2 * 1024**3


class Finding(NamedTuple):
    """One thing that was looked at; `advice` says what to do where it is not ok."""

    what: str
    state: State
    seen: str
    advice: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything that a start needs."""
    return [
        _python(),
        *_packages(),
        *_programs(settings),
        _models(settings),
        _writable(settings.var),
        _disk(settings.var),
        _memory(),
        *_ports(settings),
        *_servers(settings),
    ]


def show(findings: Iterable[Finding], console: Console) -> None:
    """Print the findings as a table."""
    table = Table("", "what", "seen", "what to do", box=None)
    for finding in findings:
        colour = _COLOURS[finding.state]
        table.add_row(f"[{colour}]{finding.state}[/{colour}]", finding.what, finding.seen, finding.advice)
    console.print(table)


def _python() -> Finding:
    seen = ".".join(str(part) for part in sys.version_info[:3])
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Finding("python", "ok", seen)
    return Finding("python", "fail", seen, "use Python 3.11 or 3.12: Bytewax has wheels for no other")


def _packages() -> Iterable[Finding]:
    """Compare what is installed with the lock."""
    wrong = []
    pins = [line.split("==") for line in (CHECKOUT / "requirements.lock").read_text().splitlines() if "==" in line]
    for name, wanted in pins:
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "missing"
        if installed != wanted:
            wrong.append(f"{name} {installed} (locked: {wanted})")
    if wrong:
        yield Finding("packages", "fail", ", ".join(wrong[:5]) + (" …" if len(wrong) > 5 else ""), "run `make setup`")
    else:
        yield Finding("packages", "ok", f"{len(pins)} as locked")


def _programs(settings: Settings) -> Iterable[Finding]:
    wanted: dict[str, Callable[[], Path]] = {}
    if not settings.features.connection_string:
        wanted["redis program"] = binaries.redis
    if not settings.triton.grpc_url:
        wanted["triton program"] = lambda: binaries.triton(settings.stack.triton_env).program
    if settings.wants_vllm:
        wanted["vllm program"] = lambda: binaries.vllm(settings.stack.vllm_env).python
        wanted["language model"] = lambda: binaries.language_model(settings.stack.models_dir)
    for what, find in wanted.items():
        try:
            yield Finding(what, "ok", find().name)
        except BinaryMissing as error:
            yield Finding(what, "fail", "missing", str(error))


def _models(settings: Settings) -> Finding:
    missing = [model for model in triton.EXPORTED if not (settings.stack.models_dir / model / "model.onnx").is_file()]
    if missing:
        return Finding("models", "fail", f"missing: {', '.join(missing)}", "run `make setup`, or `python -m models.export`")
    return Finding("models", "ok", f"{', '.join(triton.EXPORTED)} in {settings.stack.models_dir}")


def _writable(var: Path) -> Finding:
    try:
        var.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=var):
            return Finding("folder", "ok", f"{var} can be written")
    except OSError as error:
        return Finding("folder", "fail", str(error), "set HEADWATER_VAR to a folder that you may write")


def _disk(var: Path) -> Finding:
    free = shutil.disk_usage(var if var.exists() else Path()).free
    seen = f"{free / 1024**3:.0f} GiB free"
    if free < WANTED_DISK:
        return Finding(
            "disk", "warn", seen, f"keep {WANTED_DISK / 1024**3:.0f} GiB free: Redis stops taking writes on a full disk"
        )
    return Finding("disk", "ok", seen)


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    seen = f"{free / 1024**3:.1f} GiB available, {os.cpu_count()} cores"
    if free < WANTED_MEMORY:
        return Finding(
            "memory", "warn", seen, f"about {WANTED_MEMORY / 1024**3:.0f} GiB are needed with everything on one machine"
        )
    return Finding("memory", "ok", seen)


def _ports(settings: Settings) -> Iterable[Finding]:
    """Look whether the configured ports are free. Those of a running stack are taken by it, and that is fine."""
    if settings.kafka.bootstrap_servers:
        return
    stack = settings.stack
    wanted = {
        "api.port": settings.api.port,
        "stack.kafka_port": stack.kafka_port,
        "stack.redis_port": stack.redis_port,
        "stack.triton_grpc_port": stack.triton_grpc_port,
        "stack.triton_http_port": stack.triton_http_port,
        "stack.triton_metrics_port": stack.triton_metrics_port,
        "stack.vllm_port": stack.vllm_port if settings.wants_vllm else 0,
    }
    for setting, port in wanted.items():
        if port:
            try:
                choose(port, setting=setting)
                yield Finding("port", "ok", f"{port} ({setting}) is free")
            except PortTaken as error:
                yield Finding("port", "fail", f"{port} is taken", str(error))


def _servers(settings: Settings) -> Iterable[Finding]:
    """Ask the servers that are configured or running."""
    if settings.kafka.bootstrap_servers:
        yield _asked("broker", settings.kafka.bootstrap_servers, lambda: check_broker(settings.kafka, timeout_s=5.0))
    if address := settings.features.connection_string:
        yield _asked("redis", address.split(",")[0], lambda: ping(connect(address)))
    if http := settings.triton.http_url:
        yield _asked("triton", http, lambda: triton.check_models(http))


def _asked(what: str, address: str, ask: Callable[[], object]) -> Finding:
    try:
        ask()
    except (ConnectionError, NotReady) as error:
        return Finding(what, "fail", f"no answer at {address}", f"is it running, and may this machine reach it? {error}")
    return Finding(what, "ok", f"{address} answers")
