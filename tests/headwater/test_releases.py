"""`headwater releases`: what was learned is listed, compared, pinned and taken back, and what can't be done says what can."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from typer.testing import CliRunner

from headwater.commands.releases import releases
from headwater.decisions import NotPossible, release
from headwater.settings import Settings
from models.learning.gate import Learned, Verdict
from models.learning.record import read
from models.viewers import policy
from tests.headwater.test_canary import heard, told

__all__ = ["told"]

pytestmark = pytest.mark.stack
MONDAY, FRIDAY = 1_767_571_200_000, 1_767_916_800_000


@contextmanager
def environment(settings: Settings) -> Iterator[None]:
    before = os.environ.copy()
    os.environ |= {
        "HEADWATER_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "HEADWATER_LEARNING__RELEASES": str(settings.learning.releases),
        "COLUMNS": "250",
    }
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run(settings: Settings, *arguments: str) -> Any:
    with environment(settings):
        return CliRunner().invoke(releases, list(arguments))


def learned(content: str, accuracy: float, *, passed: bool = True) -> Learned:
    """Return an adapter as a lesson leaves it."""
    told = {"format": 1, "base_model": "m", "rank": 4, "learned_from": MONDAY, "learned_until": FRIDAY}
    files = {policy.MANIFEST: json.dumps(told).encode(), policy.WEIGHTS: content.encode()}
    figures = {"cases": 500.0, "accuracy": accuracy, "accuracy_baseline": 0.61}
    return Learned(files, Verdict(passed, f"accuracy {accuracy}, the baseline has 0.61", figures))


@pytest.fixture
def three(told: Settings) -> tuple[Settings, list[str]]:
    """Two that served one after the other, one refused, and a canary."""
    told.learning.every_s = 0
    made = [release(told, "agent", learned(str(n), 0.7 + n / 100)).version for n in range(2)]
    release(told, "agent", learned("worse", 0.5, passed=False))
    told.learning.every_s = 300
    made.append(release(told, "agent", learned("2", 0.75)).version)
    return told, made


def rows(output: str) -> dict[str, str]:
    """Return the lines of a table by the version in them."""
    return {word: line for line in output.splitlines() for word in line.split() if word.count("-") == 1 and "T" in word}


def test_each_release_is_listed_with_its_state_its_data_and_what_decided(three: tuple[Settings, list[str]]) -> None:
    settings, (first, second, canary) = three
    shown = run(settings, "list").output
    lines = rows(shown)
    assert "on disk" in lines[first]
    assert "serving" in lines[second]
    assert "canary" in lines[canary]
    assert "accuracy 0.71, baseline 0.61" in lines[second]
    assert "2026-01-05 00:00 to 2026-01-09 00:00" in lines[second]
    assert "refused" in shown
    assert "accuracy 0.5, the baseline has 0.61" in shown
    parsed = [json.loads(line) for line in run(settings, "list", "agent", "--json").output.splitlines()]
    assert {one["state"] for one in parsed} == {"on disk", "serving", "canary", "refused"}


def test_where_nothing_was_learned_the_list_says_how_to_learn(told: Settings) -> None:
    result = run(told, "list")
    assert result.exit_code == 0
    assert "headwater learn" in result.output


def test_all_of_one_release_is_shown(three: tuple[Settings, list[str]]) -> None:
    settings, (first, second, _) = three
    shown = run(settings, "show", "agent").output
    assert f"agent {second}: serving" in shown
    assert policy.WEIGHTS in shown
    assert "released by gate: accuracy 0.71" in shown
    assert f"agent {first}: on disk" in run(settings, "show", "agent", first).output
    missing = run(settings, "show", "agent", "20200101T000000-00000000")
    assert missing.exit_code == 2
    assert "there are:" in missing.output


def test_two_releases_are_put_side_by_side(three: tuple[Settings, list[str]]) -> None:
    settings, (first, second, canary) = three
    shown = run(settings, "diff", "agent", first, second).output
    accuracy = next(line for line in shown.splitlines() if line.strip().startswith("accuracy "))
    assert accuracy.split() == ["accuracy", "0.7", "0.71", "+0.01"]
    assert next(line for line in shown.splitlines() if policy.MANIFEST in line).rstrip().endswith("the same")
    assert next(line for line in shown.splitlines() if policy.WEIGHTS in line).rstrip().endswith("another")
    head = run(settings, "diff", "agent").output.splitlines()[0]
    assert head.split()[0] == second
    assert head.split()[1] in (first, canary)


def test_rollback_takes_the_canary_first_then_what_serves(three: tuple[Settings, list[str]]) -> None:
    settings, (first, second, canary) = three
    assert f"{canary} is rolled back; {second} serves" in run(settings, "rollback", "agent", "--why", "odd answers").output
    assert heard(settings) == {"agent": second}
    assert read(settings.learning.releases)[-1].reason == "odd answers"
    assert f"{second} is rolled back; {first} serves" in run(settings, "rollback", "agent").output
    assert heard(settings) == {"agent": first}
    lines = rows(run(settings, "list").output)
    assert "rolled back" in lines[second]
    assert "rolled back" in lines[canary]
    nothing_left = run(settings, "rollback", "agent")
    assert isinstance(nothing_left.exception, NotPossible)
    assert run(settings, "rollback", "agent", "--to", second).exit_code == 0
    assert heard(settings) == {"agent": second}


def test_pinned_it_serves_alone_until_it_is_unpinned(three: tuple[Settings, list[str]]) -> None:
    settings, (first, _, _) = three
    assert "nothing else until" in run(settings, "pin", "agent", first).output
    assert heard(settings) == {"agent": first}
    assert "pinned" in rows(run(settings, "list").output)[first]
    assert isinstance(run(settings, "rollback", "agent").exception, NotPossible)
    assert "pinned no more" in run(settings, "unpin", "agent").output
    assert "serving" in rows(run(settings, "list").output)[first]


def test_a_model_that_is_none_is_said_with_those_that_are(three: tuple[Settings, list[str]]) -> None:
    settings, _ = three
    for command in ("show", "diff", "pin", "unpin", "rollback"):
        result = run(settings, command, "agnet")
        assert result.exit_code == 2
        assert "there are: agent" in result.output


def test_nothing_is_decided_that_nobody_would_hear_of(three: tuple[Settings, list[str]]) -> None:
    settings, _ = three
    before = read(settings.learning.releases)
    away = settings.model_copy(deep=True)
    away.kafka.bootstrap_servers = "127.0.0.1:1"
    assert isinstance(run(away, "rollback", "agent").exception, ConnectionError)
    assert read(settings.learning.releases) == before


def test_each_command_says_what_it_does(told: Settings) -> None:
    for command in ("list", "show", "diff", "pin", "unpin", "rollback"):
        shown = run(told, command, "--help")
        assert shown.exit_code == 0
        assert len(shown.output.split("Usage")[1].splitlines()) > 6
