"""What tests of every room share: the real servers, started once a session, and the folder of real data."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.endpoints import Endpoints
from deploy.local.stack import Stack
from headwater.settings import Settings
from streams.kafka import create_topics

CHECKOUT = Path(__file__).resolve().parents[1]


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
def shared_data() -> Path:
    """The folder of real clips and interactions, which is never part of the repository."""
    folder = Path(os.environ.get("HEADWATER_DATA", CHECKOUT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set HEADWATER_DATA to a folder with clips/ and microlens/")
    return folder
