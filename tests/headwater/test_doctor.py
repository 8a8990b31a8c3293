"""The doctor finds what is wrong and says what to do."""

import socket
from pathlib import Path

import pytest

from headwater.doctor import Finding, examine
from headwater.settings import Settings


def of(findings: list[Finding], what: str) -> Finding:
    return next(finding for finding in findings if finding.what == what)


def test_a_missing_triton_environment_is_a_failure_with_its_cure(tmp_path: Path):
    settings = Settings.model_validate({"var": tmp_path, "stack": {"triton_env": tmp_path / "nowhere"}})
    finding = of(examine(settings), "triton program")
    assert finding.state == "fail"
    assert "make setup" in finding.advice


def test_models_that_were_not_exported_are_a_failure_with_their_cure(tmp_path: Path):
    finding = of(examine(Settings.model_validate({"var": tmp_path})), "models")
    assert finding.state == "fail"
    assert "python -m models.export" in finding.advice


@pytest.mark.parametrize("section", ["understanding", "agent"])
def test_a_language_model_is_looked_for_only_where_it_is_wanted(tmp_path: Path, section: str):
    stack = {"vllm_env": tmp_path / "nowhere", "models_dir": tmp_path / "none"}
    without = Settings.model_validate({"var": tmp_path, "stack": stack})
    assert not {"vllm program", "language model"} & {finding.what for finding in examine(without)}
    wanted = Settings.model_validate({"var": tmp_path, "stack": stack, section: {"url": "local"}})
    for what in ("vllm program", "language model"):
        finding = of(examine(wanted), what)
        assert finding.state == "fail"
        assert "make llm" in finding.advice


def test_a_taken_port_is_a_failure(tmp_path: Path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        settings = Settings.model_validate({"var": tmp_path, "api": {"port": listener.getsockname()[1]}})
        assert of(examine(settings), "port").state == "fail"


def test_a_broker_that_does_not_answer_is_a_failure(tmp_path: Path):
    settings = Settings.model_validate({"var": tmp_path, "kafka": {"bootstrap_servers": "127.0.0.1:1"}})
    assert of(examine(settings), "broker").state == "fail"


@pytest.mark.stack
def test_nothing_is_wrong_with_a_running_stack(stack):
    assert [finding for finding in examine(stack.settings) if finding.state == "fail"] == []
