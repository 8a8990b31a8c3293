"""Where the agent's lesson has its answers from is known before the logs are read."""

from pathlib import Path

import pytest
from rich.progress import Progress

from headwater.settings import BadSettings, Settings
from headwater.tuning import base_of, lesson, sampling_server
from models.learning.tuning import SamplingServer


def settings(url: str, rollouts: str = "server") -> Settings:
    made = Settings.model_validate({"tuning": {"rollouts": rollouts}})
    made.agent.url, made.agent.api_key = url, "key"
    return made


@pytest.mark.parametrize("url", ["", "local"])
def test_answers_by_a_server_want_its_address(url: str) -> None:
    with pytest.raises(BadSettings, match=r'expected the address .* in agent\.url, got .*tuning\.rollouts = "local"'):
        lesson(settings(url), None, "2000-01-01", Progress(disable=True))


def test_answers_come_from_the_server_that_plans() -> None:
    assert sampling_server(settings("http://vllm:8000")) == SamplingServer("http://vllm:8000", "key")


def test_without_one_the_model_that_learns_answers() -> None:
    assert sampling_server(settings("", rollouts="local")) is None


def test_weights_of_a_server_are_not_taken_for_those_of_the_small_model() -> None:
    with pytest.raises(BadSettings, match=r"expected in tuning\.base .* http://vllm:8000 serves as Qwen/Qwen2\.5-7B-Instruct"):
        lesson(settings("http://vllm:8000"), None, "2000-01-01", Progress(disable=True))


def test_weights_are_those_that_are_named() -> None:
    made = settings("http://vllm:8000")
    made.tuning.base = "/models/qwen"
    assert base_of(made) == (Path("/models/qwen"), "Qwen/Qwen2.5-7B-Instruct")


def test_one_process_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadSettings, match="expected one process that learns, got 2"):
        lesson(settings("", rollouts="local"), None, "2000-01-01", Progress(disable=True))
