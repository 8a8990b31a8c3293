"""The command line: help at once, and errors that say what to do."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.flows import FLOWS

HEADWATER = [sys.executable, "-c", "from headwater.cli import main; main()"]


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HEADWATER, *arguments], cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=60
    )


def test_help_names_every_command_and_imports_nothing_heavy(tmp_path: Path):
    program = "import sys; from headwater.cli import app; print([m for m in ('feast', 'bytewax', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
    shown = run("--help", folder=tmp_path).stdout
    for command in ("up", "serve", "flow", "doctor", "topics", "schema", "replay", "upload", "dead-letters", "demo"):
        assert command in shown


def test_serving_on_a_taken_port_says_who_has_it(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", folder=tmp_path, HEADWATER_API__PORT=str(port))
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 (api.port) is taken by process {os.getpid()}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_one_line_and_no_traceback(tmp_path: Path):
    failed = run("doctor", folder=tmp_path, HEADWATER_API__PROT="1")
    assert failed.returncode == 1
    assert failed.stderr == "headwater: HEADWATER_API__PROT is no option; did you mean api.port?\n"


def test_an_unknown_flow_is_refused_with_the_ones_there_are(tmp_path: Path):
    failed = run("flow", "profil", folder=tmp_path, COLUMNS="120")
    assert failed.returncode == 2
    assert all(name in failed.stderr for name in FLOWS)


def test_the_schema_is_json_with_a_definition_for_each_event(tmp_path: Path):
    schema = json.loads(run("schema", folder=tmp_path).stdout)
    assert {"Upload", "Interaction", "Slate"} <= schema["$defs"].keys()


def test_config_names_another_file(tmp_path: Path):
    (tmp_path / "other.toml").write_text("[kafka.partitions]\nuploads = 32")
    assert "32" in run("--config", "other.toml", "topics", "list", folder=tmp_path).stdout


@pytest.mark.stack
def test_topics_that_exist_are_not_created_again(stack, tmp_path: Path):
    kafka = stack.settings.kafka
    there = {"HEADWATER_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
    created = run("topics", "create", folder=tmp_path, **there, HEADWATER_KAFKA__PARTITIONS=json.dumps(kafka.partitions))
    assert created.stdout == "every topic exists\n"
