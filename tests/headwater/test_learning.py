"""What was learned reaches the nodes: the gate's decision is on record, and the release is on its topic, whole."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from headwater.learning import learn
from headwater.settings import Settings
from models.learning.gate import TooLittle
from models.learning.record import FILE
from models.learning.releases import opened
from models.retrieval.served import ServedTowers
from streams.events import Release
from streams.follower import Followed, Follower
from streams.topics import RELEASES
from tests.conftest import RunningStack
from tests.models.test_learning import VIDEOS, Logs, content, cycles

pytestmark = pytest.mark.stack


@pytest.fixture
def settings(stack: RunningStack, tmp_path: Path) -> Settings:
    """The running stack's, with logs and releases of this test's own."""
    own = stack.settings.model_copy(deep=True)
    logs = Logs(tmp_path)
    own.flows.feedback_log, own.features.log = str(logs.feedback), str(tmp_path / "features")
    own.learning.releases = tmp_path / "releases"
    # What the logs tell of is of a fixed day.
    own.learning.days = 10_000
    # All get what passes: no learner runs here that would watch a canary.
    own.learning.every_s = 0
    return own


def released(settings: Settings) -> list[Release]:
    newest: dict[str, Release | None] = {}

    def take(batch: list[Followed]) -> None:
        newest.update({followed.key: followed.event for followed in batch})

    with closing(Follower(settings.kafka, [RELEASES], take, name="test").start(timeout_s=30.0)):
        return [release for release in newest.values() if release is not None]


def test_what_passes_is_released_and_every_decision_is_on_record(settings: Settings, tmp_path: Path) -> None:
    console = Console(quiet=True)
    with pytest.raises(TooLittle):
        learn("towers", settings, console)
    Logs(tmp_path).write(cycles(), [content(video) for video in range(VIDEOS)])
    assert learn("towers", settings, console)
    (release,) = released(settings)
    assert ServedTowers(opened(release), dimensions=384).width
    with pytest.raises(TooLittle, match="since the towers that serve learned"):
        learn("towers", settings, console)
    # From nothing it learns again, and is compared with the first.
    settings.learning.towers_afresh_s = 0
    learn("towers", settings, console)
    decisions = [json.loads(line) for line in (settings.learning.releases / FILE).read_text().splitlines()]
    assert decisions[0]["version"] == release.version
    assert "hr_at_20_running" not in decisions[0]["figures"]
    assert decisions[1]["figures"]["hr_at_20_running"] > 0
