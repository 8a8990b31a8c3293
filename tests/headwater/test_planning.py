"""Who makes plans, by the settings, and that a release on the topic reaches the server that is asked."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deploy.local.stack import Stack
from headwater import planning
from headwater.settings import Settings
from models.learning.releases import write
from models.viewers.agent_ranker import AgentRanker
from models.viewers.policy import CANARY, NAME
from streams.events import Release
from streams.heartbeat import Pulse
from streams.kafka import EventProducer, create_topics
from streams.topics import RELEASES
from tests.models.chat_server import MODEL, Server
from tests.models.test_policies import NOW, files

INTERESTS: Any = object()


def test_without_a_language_model_interests_make_plans() -> None:
    with ExitStack() as held:
        assert planning.ranker(Settings(), held, Pulse("flow-rerank"), INTERESTS, INTERESTS) is INTERESTS


def test_a_language_model_of_the_stack_needs_a_stack() -> None:
    settings = Settings.model_validate({"agent": {"url": "local"}})
    with ExitStack() as held, pytest.raises(ConnectionError, match=r"agent.url is 'local'.*`headwater up`"):
        planning.ranker(settings, held, Pulse("flow-rerank"), INTERESTS, INTERESTS)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def settings(server: Server, tmp_path: Path) -> Iterator[Settings]:
    """Of a house with a broker of its own and nothing else."""
    elsewhere = "127.0.0.1:9"
    settings = Settings.model_validate({"var": tmp_path / "var", "agent": {"url": server.url, "model": MODEL}})
    settings.features.connection_string = settings.triton.grpc_url = elsewhere
    with Stack(
        settings.stack, kafka=settings.kafka, features=settings.features, triton=settings.triton, var=settings.var
    ) as stack:
        settings = settings.at(stack.endpoints)
        create_topics(settings.kafka)
        yield settings


@pytest.mark.stack
def test_what_is_released_is_loaded_and_what_is_rolled_back_is_unloaded(
    settings: Settings, server: Server, tmp_path: Path
) -> None:
    pulse, producer = Pulse("flow-rerank"), EventProducer(settings.kafka)
    first = write(tmp_path, NAME, files(), figures={}, at=NOW)
    newer = write(tmp_path, CANARY, files(rank=4), figures={}, at=NOW + 1000)
    tell(producer, first)
    with ExitStack() as held:
        ranker = planning.ranker(settings, held, pulse, INTERESTS, INTERESTS)
        assert isinstance(ranker, AgentRanker)
        wait(server, first.version)
        tell(producer, newer)
        wait(server, first.version, newer.version)
        producer.tombstone(RELEASES, CANARY)
        producer.flush(10.0)
        wait(server, first.version)
        assert [(state.name, state.version) for state in pulse.beat().models] == [(NAME, first.version), (CANARY, "")]
    producer.close()


def tell(producer: EventProducer, release: Release) -> None:
    producer.send(RELEASES, release)
    producer.flush(10.0)


def wait(server: Server, *versions: str) -> None:
    deadline = time.monotonic() + 30
    while set(server.adapters) != {f"agent-{version}" for version in versions}:
        assert time.monotonic() < deadline, server.adapters
        time.sleep(0.01)
