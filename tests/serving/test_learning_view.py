"""What operators are told of learning: what serves, the canary, decisions with reasons, and curves that are bounded."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.learning.record import FILE, Decision, append
from models.settings import LearningSettings
from serving.api import create_app
from serving.experiments.canary import Look, write_look
from serving.ops.curves import MOST_CURVES, MOST_POINTS, Runs
from serving.ops.learning import MOST_DECISIONS, Learning

pytestmark = pytest.mark.anyio
A, B = "20260101T000000-aaaaaaaa", "20260102T000000-bbbbbbbb"


def decided(what: Any, version: str = "", **more: Any) -> Decision:
    fields = {"at": 1, "model": "agent", "by": "gate", "reason": "better"} | more
    return Decision(what=what, version=version, **fields)


def told(folder: Path, *lines: object, torn: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "curves.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + torn)


def step(number: int, stage: str = "grpo", **values: float) -> dict[str, object]:
    return {"step": number, "stage": stage, "at": 1_000 + number, **values}


def test_what_serves_and_its_canary_are_told_with_what_was_seen_of_it(tmp_path: Path) -> None:
    for one in (
        decided("released", A),
        decided("refused", reason="worse"),
        decided("canary", B, at=5),
        decided("released", A, model="towers"),
    ):
        append(tmp_path, one)
    seen = Look(at=9, version=B, share=0.1, viewers=200, other_viewers=1_800, reward=0.4, other_reward=0.5)
    learning = Learning(LearningSettings(releases=tmp_path))
    agent = learning.view().models[0]
    assert (agent.model, agent.version, agent.canary and agent.canary.look) == ("agent", A, None)
    write_look(tmp_path, "agent", seen)
    agent, towers = learning.view().models
    assert agent.canary
    assert (agent.canary.version, agent.canary.since, agent.canary.look) == (B, 5, seen)
    assert (towers.model, towers.version, towers.canary) == ("towers", A, None)
    assert [one.what for one in learning.view().decisions] == ["released", "canary", "refused", "released"]


def test_the_newest_decisions_are_told_and_no_more_than_a_page_of_them(tmp_path: Path) -> None:
    for at in range(MOST_DECISIONS + 5):
        append(tmp_path, decided("refused", at=at))
    told_of = Learning(LearningSettings(releases=tmp_path)).view().decisions
    assert [one.at for one in told_of] == list(range(MOST_DECISIONS + 4, 4, -1))


def test_where_nothing_was_learned_there_is_nothing_to_tell(tmp_path: Path) -> None:
    for settings in (None, LearningSettings(releases=tmp_path / "none", runs=tmp_path / "none")):
        view = Learning(settings).view()
        assert (view.models, view.decisions, view.run) == ([], [], None)


def test_a_record_that_can_not_be_read_takes_no_page_with_it(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    assert Learning(LearningSettings(releases=tmp_path)).view().decisions == []


def test_curves_are_of_the_newest_run_by_stage_and_step(tmp_path: Path) -> None:
    told(tmp_path / "first", step(0, reward=0.9))
    told(tmp_path / "second", step(0, "sft", loss=2.0), step(0, reward=0.1), step(2, reward=0.3, kl=0.01), step(1, reward=0.2))
    run = Runs(tmp_path).newest()
    assert run
    assert (run.name, run.began, run.at) == ("second", 1_000, 1_002)
    sft, grpo = run.stages
    assert (sft.stage, sft.steps, sft.curves) == ("sft", [0], {"loss": [2.0]})
    assert (grpo.steps, grpo.curves) == ([0, 1, 2], {"reward": [0.1, 0.2, 0.3], "kl": [None, None, 0.01]})


@pytest.mark.parametrize(
    "torn", ['{"step": 2, "stage": "grpo", "a', "\x00\xff", "[]\n", "{}\n", '{"step": true, "stage": 1, "at": 1}\n']
)
def test_a_torn_or_poisoned_line_is_left_out(tmp_path: Path, torn: str) -> None:
    told(tmp_path / "run", step(0, reward=0.1), step(1, reward=0.2), torn=torn)
    run = Runs(tmp_path).newest()
    assert run
    assert run.stages[0].curves == {"reward": [0.1, 0.2]}


def test_what_is_no_number_is_a_gap(tmp_path: Path) -> None:
    told(tmp_path / "run", step(0, loss=1.0), step(1, loss=float("nan")), step(2, loss=float("inf")), step(3, loss=10**400))
    run = Runs(tmp_path).newest()
    assert run
    assert run.stages[0].curves == {"loss": [1.0, None, None, None]}


def test_a_long_run_is_thinned_evenly_and_keeps_what_is_measured_now_and_then(tmp_path: Path) -> None:
    steps = [step(n, reward=n / 10_000, **({"held_out": float(n)} if n % 1_000 == 7 else {})) for n in range(10_000)]
    told(tmp_path / "run", *steps)
    run = Runs(tmp_path).newest()
    assert run
    (stage,) = run.stages
    assert len(stage.steps) == MOST_POINTS
    assert (stage.steps[0], stage.steps[-1]) == (0, 9_999)
    gaps = {after - before for before, after in zip(stage.steps, stage.steps[1:], strict=False)}
    assert gaps <= {20, 21}
    assert [value for value in stage.curves["held_out"] if value is not None] == [1_000.0 * n + 7 for n in range(10)]


def test_a_run_of_more_curves_than_are_shown_is_bounded(tmp_path: Path) -> None:
    told(tmp_path / "run", step(0, **{f"c{n}": 1.0 for n in range(10 * MOST_CURVES)}))
    run = Runs(tmp_path).newest()
    assert run
    assert len(run.stages[0].curves) == MOST_CURVES


def test_a_run_goes_on_while_it_is_shown(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    assert runs.newest() is None
    told(tmp_path / "run", step(0, reward=0.1))
    first = runs.newest()
    assert first is runs.newest()
    told(tmp_path / "run", step(0, reward=0.1), step(1, reward=0.2))
    second = runs.newest()
    assert second
    assert second.stages[0].steps == [0, 1]


async def test_the_api_tells_of_learning(world: Any, tmp_path: Path) -> None:
    append(tmp_path, decided("released", A, figures={"accuracy": 0.7}))
    told(tmp_path / "learning" / "agent" / "run", step(0, reward=0.1))
    world.node.learning = Learning(LearningSettings(releases=tmp_path, runs=tmp_path / "learning"))
    app = create_app(world.node)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        body = (await http.get("/v1/ops/learning")).json()
    assert body["models"] == [{"model": "agent", "version": A, "since": 1, "pinned": False, "canary": None}]
    assert body["decisions"][0]["reason"] == "better"
    assert body["run"]["stages"] == [{"stage": "grpo", "steps": [0], "curves": {"reward": [0.1]}}]
