"""What is said of a canary: rolled back once it is surely worse, promoted once it had its time and is not."""

from pathlib import Path

import numpy as np
import pytest

from serving.experiments.canary import ALPHA, LONGEST, MARGIN, Look, last_look, looked, write_look
from serving.experiments.confidence import Totals

HOUR = 3_600_000


def viewers(number: int, *, mean: float, seed: int = 0, pages: int = 10, spread: float = 0.5) -> Totals:
    """Return the totals of viewers who looked at so many places each, of such a mean reward."""
    rng = np.random.default_rng(seed)
    rewards = rng.normal(mean, spread, (number, pages))
    # Their mean exactly, so that a test may say on which side of a bound it is.
    rewards += mean - rewards.mean() if number else 0.0
    x, m = rewards.sum(axis=1), np.full(number, float(pages))
    return Totals(
        number, float(m.sum()), float(x.sum()), float(x @ x), float(x @ m), float(m @ m), float(np.square(rewards).sum())
    )


def at(age_ms: int, ours: Totals, others: Totals) -> Look:
    return looked(ours, others, version="v", share=0.1, since=1_000, at=1_000 + age_ms, least_ms=HOUR)


def test_a_canary_that_is_surely_worse_is_rolled_back_at_once_with_its_figures() -> None:
    seen = at(60_000, viewers(300, mean=0.1), viewers(2_700, mean=0.5, seed=1))
    assert seen.follows == "roll back"
    assert "surely below" in seen.reason
    assert seen.high is not None
    assert seen.high < 0
    assert seen.figures()["viewers"] == 300.0


def test_a_canary_that_is_no_worse_is_promoted_after_its_time_and_not_before() -> None:
    ours, others = viewers(300, mean=0.5), viewers(2_700, mean=0.5, seed=1)
    assert at(HOUR - 1, ours, others).follows == "watch"
    assert at(HOUR, ours, others).follows == "promote"


def test_one_that_may_be_worse_waits_and_is_rolled_back_in_the_end() -> None:
    ours, others = viewers(120, mean=0.5 * (1 - 2 * MARGIN)), viewers(2_700, mean=0.5, seed=1)
    seen = at(HOUR, ours, others)
    assert (seen.follows, seen.high is not None and seen.high > 0) == ("watch", True)
    assert at(LONGEST * HOUR, ours, others).follows == "roll back"


def test_of_too_few_viewers_nothing_is_said_and_the_gate_stands_in_the_end() -> None:
    ours, others = viewers(30, mean=-5.0), viewers(2_700, mean=0.5, seed=1)
    seen = at(HOUR, ours, others)
    assert (seen.follows, seen.difference) == ("watch", None)
    assert "30 with it" in seen.reason
    assert at(LONGEST * HOUR, ours, others).follows == "promote"
    nobody = at(LONGEST * HOUR, viewers(0, mean=0.0), viewers(0, mean=0.0))
    assert (nobody.follows, nobody.reward) == ("promote", None)


def test_where_the_others_lose_a_worse_canary_loses_more() -> None:
    assert at(HOUR, viewers(300, mean=-0.9), viewers(2_700, mean=-0.5, seed=1)).follows == "roll back"
    assert at(HOUR, viewers(300, mean=-0.51), viewers(2_700, mean=-0.5, seed=1)).follows == "promote"


def test_however_often_one_looks_equal_canaries_are_seldom_rolled_back() -> None:
    rng = np.random.default_rng(3)
    rolled_back = 0
    for _ in range(100):
        x = np.zeros((1_200, 2))
        for minute in range(1, 121):
            rewards = rng.normal(0.3, 0.8, 1_200)
            x[:, 0] += rewards
            x[:, 1] += np.square(rewards)
            totals = [
                Totals(
                    len(sums), minute * len(sums), sums[:, 0].sum(), np.square(sums[:, 0]).sum(), minute * sums[:, 0].sum(),
                    minute * minute * len(sums), sums[:, 1].sum(),
                )
                for sums in (x[:200], x[200:])
            ]  # fmt: skip
            if at(minute * 20_000, *totals).follows == "roll back":
                rolled_back += 1
                break
    assert rolled_back <= 100 * ALPHA


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"at":"x"}'])
def test_a_look_that_can_not_be_read_is_none(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "agent.canary.json").write_bytes(left)
    assert last_look(tmp_path, "agent", "v") is None


def test_the_last_look_is_of_its_canary_alone(tmp_path: Path) -> None:
    seen = at(HOUR, viewers(300, mean=0.5), viewers(2_700, mean=0.5, seed=1))
    write_look(tmp_path, "agent", seen)
    assert last_look(tmp_path, "agent", "v") == seen
    assert last_look(tmp_path, "agent", "another") is None
    assert [path.name for path in tmp_path.iterdir()] == ["agent.canary.json"]
