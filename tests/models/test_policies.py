"""Which adapter decides for whom, and how one takes another's place on a server that speaks vLLM's protocol."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from deploy.local import vllm
from headwater.planning import PulseLoads
from models.canaries import gets_canary
from models.learning.releases import write
from models.settings import AgentSettings
from models.viewers.adapters import Adapters, Refused
from models.viewers.policies import Policies
from models.viewers.policy import CANARY, CONFIG, MANIFEST, NAME, WEIGHTS, BadPolicy, Calibration, Policy, Segment
from serving.models import Models
from streams.events import Release
from streams.follower import Followed
from streams.heartbeat import Pulse
from streams.topics import RELEASES
from tests.models.chat_server import MODEL, Server

NOW = 1_790_000_000_000
VIEWERS = [f"viewer{n}" for n in range(400)]


def files(**more: Any) -> dict[str, bytes]:
    told = Policy(
        base_model=MODEL,
        rank=8,
        calibration=Calibration(2.0, -1.0),
        segments=(Segment(least=0, most=20, helps=True), Segment(least=21, most=10**6, helps=False)),
    )
    return {MANIFEST: msgspec.json.encode(replace(told, **more)), WEIGHTS: b"weights", CONFIG: b"{}"}


def folder(at: Path, **more: Any) -> Path:
    at.mkdir()
    for name, content in files(**more).items():
        (at / name).write_bytes(content)
    return at


@pytest.fixture
def counted() -> Counter[str]:
    return Counter()


@pytest.fixture
def policies(server: Server, counted: Counter[str]) -> Iterator[Policies]:
    with Adapters(server.url, api_key="") as adapters:
        settings = AgentSettings(url=server.url, model=MODEL)
        yield Policies(adapters, settings, canary_share=0.1, count=lambda name, by=1: counted.update({name: by}))


def versions(policies: Policies) -> Counter[str]:
    found: Counter[str] = Counter()
    for viewer in VIEWERS:
        with policies.of(viewer) as serving:
            found[serving.version if serving else ""] += 1
    return found


def test_without_a_release_nobody_decides(policies: Policies) -> None:
    assert set(versions(policies)) == {""}


def test_a_released_adapter_is_loaded_under_a_name_of_its_version_and_calibrated_as_it_says(
    policies: Policies, server: Server, tmp_path: Path
) -> None:
    policies.slot(NAME).load(folder(tmp_path / "1"), "v1")
    assert server.adapters == {"agent-v1": str(tmp_path / "1")}
    with policies.of("ann") as serving:
        assert serving is not None
        assert (serving.mind.model, serving.mind.calibrated(3.0)) == ("agent-v1", 5.0)
        assert (serving.policy.helps(20), serving.policy.helps(21)) == (True, False)


def test_a_share_of_viewers_gets_the_canary_and_the_same_ones_each_time(policies: Policies, tmp_path: Path) -> None:
    policies.slot(NAME).load(folder(tmp_path / "1"), "v1")
    policies.slot(CANARY).load(folder(tmp_path / "2"), "v2")
    found = versions(policies)
    assert found == versions(policies)
    assert 0.05 < found["v2"] / len(VIEWERS) < 0.16
    for viewer in VIEWERS:
        with policies.of(viewer) as serving:
            assert serving is not None
            assert (serving.version == "v2") == (gets_canary("agent", viewer, 0.1))


def test_a_canary_without_one_before_it_leaves_the_others_to_interests(policies: Policies, tmp_path: Path) -> None:
    policies.slot(CANARY).load(folder(tmp_path / "2"), "v2")
    assert set(versions(policies)) == {"", "v2"}


def test_a_canary_that_is_promoted_stays_loaded_all_the_while(policies: Policies, server: Server, tmp_path: Path) -> None:
    policies.slot(NAME).load(folder(tmp_path / "1"), "v1")
    policies.slot(CANARY).load(folder(tmp_path / "2"), "v2")
    policies.slot(NAME).load(tmp_path / "2", "v2")
    policies.slot(CANARY).unload()
    assert set(versions(policies)) == {"v2"}
    assert server.changes == [("load", "agent-v1"), ("load", "agent-v2"), ("unload", "agent-v1")]


def test_a_canary_that_is_rolled_back_is_unloaded(policies: Policies, server: Server, tmp_path: Path) -> None:
    policies.slot(NAME).load(folder(tmp_path / "1"), "v1")
    policies.slot(CANARY).load(folder(tmp_path / "2"), "v2")
    policies.slot(CANARY).unload()
    assert set(versions(policies)) == {"v1"}
    assert set(server.adapters) == {"agent-v1"}


def test_what_serves_is_unloaded_after_the_swap_and_once_nobody_uses_it(
    policies: Policies, server: Server, tmp_path: Path
) -> None:
    policies.slot(NAME).load(folder(tmp_path / "1"), "v1")
    with policies.of("ann") as used, policies.of("bob"):
        policies.slot(NAME).load(folder(tmp_path / "2"), "v2")
        assert set(versions(policies)) == {"v2"}
        assert set(server.adapters) == {"agent-v1", "agent-v2"}
        assert used is not None
        assert used.version == "v1"
    assert set(server.adapters) == {"agent-v2"}


def test_a_version_that_comes_back_while_it_is_still_used_is_not_unloaded(
    policies: Policies, server: Server, tmp_path: Path
) -> None:
    policies.slot(NAME).load(folder(tmp_path / "1"), "v1")
    with policies.of("ann"):
        policies.slot(NAME).load(folder(tmp_path / "2"), "v2")
        policies.slot(NAME).load(tmp_path / "1", "v1")
    assert set(versions(policies)) == {"v1"}
    assert set(server.adapters) == {"agent-v1"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"base_model": "another"}, "expected an adapter of small, which is served, got one of another"),
        ({"rank": 17}, "expected a rank of at most 16, got 17"),
        ({"format": 1}, "expected form 2, got 1"),
    ],
)
def test_an_adapter_of_another_model_rank_or_form_is_refused_and_what_served_goes_on(
    policies: Policies, server: Server, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    policies.slot(NAME).load(folder(tmp_path / "1"), "v1")
    with pytest.raises(BadPolicy, match=message):
        policies.slot(NAME).load(folder(tmp_path / "2", **more), "v2")
    assert set(versions(policies)) == {"v1"}
    assert server.changes == [("load", "agent-v1")]


def test_an_adapter_that_the_server_refuses_leaves_what_served(policies: Policies, server: Server, tmp_path: Path) -> None:
    policies.slot(NAME).load(folder(tmp_path / "1"), "v1")
    server.refuses = "LoRA rank 64 is greater than max_lora_rank 16"
    with pytest.raises(Refused, match="answered 400: LoRA rank 64 is greater"):
        policies.slot(NAME).load(folder(tmp_path / "2"), "v2")
    assert set(versions(policies)) == {"v1"}


def test_an_adapter_that_another_process_loaded_first_is_used(policies: Policies, server: Server, tmp_path: Path) -> None:
    server.adapters["agent-v1"] = "elsewhere"
    policies.slot(NAME).load(folder(tmp_path / "1"), "v1")
    assert set(versions(policies)) == {"v1"}


def test_an_adapter_that_the_server_forgot_is_loaded_again(
    policies: Policies, server: Server, counted: Counter[str], tmp_path: Path
) -> None:
    policies.slot(NAME).load(folder(tmp_path / "1"), "v1")
    server.adapters.clear()
    with policies.of("ann") as serving:
        assert serving is not None
        assert policies.restore(serving, within_s=5)
    assert set(server.adapters) == {"agent-v1"}
    assert counted["agent_adapter/restored"] == 1


def test_one_that_the_server_does_not_take_back_is_not_asked_for_again_at_once(
    policies: Policies, server: Server, counted: Counter[str], tmp_path: Path
) -> None:
    policies.slot(NAME).load(folder(tmp_path / "1"), "v1")
    server.adapters.clear()
    server.refuses = "no memory"
    with policies.of("ann") as serving:
        assert serving is not None
        assert [policies.restore(serving, within_s=5) for _ in range(3)] == [False] * 3
    assert counted["agent_adapter/not_restored"] == 1


def test_a_release_that_comes_while_the_server_is_away_serves_once_it_is_back(tmp_path: Path, server: Server) -> None:
    address = server.http.server_address
    server.close()
    with Adapters(server.url, api_key="") as adapters:
        policies = Policies(adapters, AgentSettings(url=server.url, model=MODEL), canary_share=0.1)
        policies.slot(NAME).load(folder(tmp_path / "1"), "v1")
        back = Server(port=address[1])
        try:
            with policies.of("ann") as serving:
                assert serving is not None
                assert policies.restore(serving, within_s=5)
            assert set(back.adapters) == {"agent-v1"}
        finally:
            back.close()


def follow(models: Models, *releases: Release) -> None:
    models.follow([Followed(RELEASES, release.name, release, NOW) for release in releases])


@pytest.mark.parametrize("damage", ["weights that changed", "weights that are gone"])
def test_a_release_that_is_not_what_its_event_tells_of_is_refused_and_the_heartbeat_says_why(
    policies: Policies, server: Server, tmp_path: Path, damage: str
) -> None:
    pulse = Pulse("flow-rerank")
    models = Models({name: policies.slot(name) for name in (NAME, CANARY)}, PulseLoads(pulse), lambda: NOW)
    pulse.models(lambda: tuple(models.states.values()))
    good = write(tmp_path, NAME, files(), figures={}, at=NOW)
    bad = write(tmp_path, NAME, files(rank=4), figures={}, at=NOW + 1000)
    weights = tmp_path / NAME / bad.version / WEIGHTS
    weights.unlink() if damage.endswith("gone") else weights.write_bytes(b"other")
    follow(models, good)
    follow(models, bad)
    assert set(versions(policies)) == {good.version}
    beat = pulse.beat()
    state = next(state for state in beat.models if state.name == NAME)
    assert (state.version, state.loaded_at) == (good.version, NOW)
    assert state.refused.startswith(f"{bad.version}: ")
    assert (beat.counters["agent_adapter/loaded"], beat.counters["agent_adapter/refused"]) == (1, 1)


def test_the_stacks_own_server_takes_adapters_of_the_rank_that_is_let_through() -> None:
    assert AgentSettings().lora_rank == vllm.LORA_RANK
