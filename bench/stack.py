"""The servers and processes that a bench measures: its own, in a folder that goes when it ends, or those that run already."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import psutil
import typer

from bench.report import console
from deploy.local.endpoints import running
from headwater.house import House
from headwater.settings import Settings, load
from streams.events import Event
from streams.topics import Topic

if TYPE_CHECKING:
    from streams.kafka import KafkaSettings

Where = Annotated[
    Literal["own", "running"],
    typer.Option("--stack", help="own: started for this run in a temporary folder; running: that of `headwater up`"),
]


# A stack that does nothing takes a third of a core; one flow at work adds most of another.
AT_REST_CORES = 0.7


@dataclass(frozen=True)
class Running:
    """A stack that serves: its settings with all addresses, and the API's URL."""

    settings: Settings
    url: str


@contextmanager
def started(where: Where) -> Iterator[Running]:
    """Yield a whole stack: servers, flows and API."""
    if where == "running":
        settings = load()
        endpoints = running(settings.var)
        if endpoints is None:
            raise typer.BadParameter(f"--stack running: none runs in {settings.var}; start it with `headwater up`")
        yield Running(settings, f"http://{endpoints.api}")
        return
    with own_settings() as settings, House(settings, say=lambda line: console.print(line, style="dim")) as house:
        yield Running(house.settings, house.address)


@contextmanager
def own_settings() -> Iterator[Settings]:
    """Yield settings for a stack in a temporary folder, which uses the exported models of the usual one."""
    usual = load()
    with TemporaryDirectory(prefix="headwater-bench-") as folder:
        settings = Settings(var=Path(folder))
        settings.stack.triton_env = usual.stack.triton_env.absolute()
        settings.stack.vllm_env = usual.stack.vllm_env.absolute()
        settings.stack.models_dir = usual.stack.models_dir.absolute()
        settings.api.port = 0
        # A training takes the cores for a minute, whenever it comes: no two runs would be alike.
        settings.learning.every_s = 0.0
        yield settings


def publish(kafka: "KafkaSettings", topic: Topic, events: Iterable[Event]) -> int:
    """Write `events` to `topic`, as fast as the broker takes them, and return how many there were."""
    from streams.kafka import EventProducer, NotAccepted

    producer, count = EventProducer(kafka), 0
    for event in events:
        while True:
            try:
                producer.send(topic, event)
                break
            except NotAccepted:
                producer.flush(1.0)
        count += 1
    if left := producer.close(60.0):
        raise ConnectionError(f"the broker did not take {left} of {count} events for {topic.name} within 60 s")
    return count


def at_rest(*, timeout_s: float = 60.0) -> None:
    """Return once the stack's own processes are at rest: flows that still read a new catalogue would be measured along."""
    deadline = time.monotonic() + timeout_s
    before = _cpu_s()
    while time.monotonic() < deadline:
        time.sleep(1.0)
        now = _cpu_s()
        if now - before < AT_REST_CORES:
            return
        before = now


def _cpu_s() -> float:
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            used = process.cpu_times()
            total += used.user + used.system
    return total


@contextmanager
def servers(settings: Settings) -> Iterator[Settings]:
    """Yield `settings` with the addresses of a broker and a Redis of their own: topics made, feature views registered."""
    from deploy.local.stack import Stack
    from feature_repo.store import apply
    from streams.kafka import create_topics

    # An address that nobody asks: what is measured needs no encoders.
    elsewhere = settings.triton.model_copy(update={"grpc_url": "127.0.0.1:9", "http_url": "127.0.0.1:9"})
    with Stack(settings.stack, kafka=settings.kafka, features=settings.features, triton=elsewhere, var=settings.var) as stack:
        serving = settings.at(stack.endpoints)
        create_topics(serving.kafka)
        apply(serving.features)
        yield serving
