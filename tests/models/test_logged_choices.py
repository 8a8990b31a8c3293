"""The choices of exploration, read from a feedback log on disk."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from headwater.cli import app
from models.ranking.evaluation.logged_choices import BadLog, read
from streams.events import Feedback, Outcome
from streams.flows.feedback_log import FeedbackLog

NOW = 1_800_000_000_000


def place(position: int, video: str, propensity: float, reward: float = 0.0, **rivals: float) -> Outcome:
    return Outcome(
        video_id=video, position=position, propensity=propensity, source="exploration", actions=(), watch_ms=0, reward=reward,
        parts={}, rivals=rivals,
    )  # fmt: skip


def certain(position: int, video: str) -> Outcome:
    return Outcome(
        video_id=video, position=position, propensity=1.0, source="fresh", actions=(), watch_ms=0, reward=9.0, parts={}
    )


def page(request: str, user: str, *items: Outcome) -> Feedback:
    return Feedback(
        request_id=request, user_id=user, items=items, served_at=NOW, closed_at=NOW + 1, policy_version="interest-1"
    )


def test_a_choice_is_the_shown_video_first_and_then_its_rivals(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    log.add([page("r1", "ann", certain(0, "m"), place(1, "a", 0.5, 1.0, b=0.25, c=0.25), place(5, "c", 1.0, -0.5))])
    log.add([page("r2", "bob", place(1, "b", 0.75, 2.0, a=0.25))])
    choices = read(tmp_path)
    assert (len(choices), choices.main, choices.incomplete) == (3, 1, 0)
    by_reward = {float(choices.rewards[row]): row for row in range(3)}
    sizes = {reward: int(np.diff(choices.starts)[row]) for reward, row in by_reward.items()}
    assert sizes == {1.0: 3, -0.5: 1, 2.0: 2}
    shown = {reward: int(choices.videos[choices.shown[row]]) for reward, row in by_reward.items()}
    assert len(set(shown.values())) == 3
    first = slice(*choices.starts[by_reward[1.0] : by_reward[1.0] + 2])
    assert choices.propensities[first].tolist() == [0.5, 0.25, 0.25]
    assert choices.videos[first].tolist() == [shown[1.0], shown[2.0], shown[-0.5]]
    assert len(set(choices.viewers.tolist())) == 2
    assert choices.policies == ("interest-1",)


def test_a_place_that_value_got_by_chance_is_a_choice_too(tmp_path: Path) -> None:
    by_value = Outcome(
        video_id="a",
        position=3,
        propensity=0.75,
        source="fresh",
        actions=(),
        watch_ms=0,
        reward=1.0,
        parts={},
        rivals={"b": 0.25},
    )
    FeedbackLog(tmp_path).add([page("r1", "ann", certain(0, "m"), by_value)])
    choices = read(tmp_path)
    assert (len(choices), choices.main) == (1, 1)


def test_a_row_that_a_cut_short_merge_left_twice_counts_once(tmp_path: Path) -> None:
    made = [page("r1", "ann", place(1, "a", 0.5, 1.0, b=0.5))]
    FeedbackLog(tmp_path).add(made)
    FeedbackLog(tmp_path).add(made)
    assert len(read(tmp_path)) == 1


def test_places_that_do_not_name_their_rivals_are_left_out_and_counted(tmp_path: Path) -> None:
    FeedbackLog(tmp_path).add([page("r1", "ann", place(1, "a", 0.5, 1.0), place(5, "b", 0.5, 1.0, c=0.5))])
    choices = read(tmp_path)
    assert (len(choices), choices.incomplete) == (1, 1)


def test_files_from_before_rivals_were_told_of_are_read_beside_newer_ones(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    log.add([page("r1", "ann", place(1, "a", 0.5, 1.0), place(5, "sole", 1.0, 2.0))], name="old")
    (old,) = tmp_path.glob("day=*/part-old.parquet")
    pq.write_table(pq.ParquetFile(old).read().drop_columns(["rivals"]), old)
    log.add([page("r2", "bob", place(1, "b", 0.75, 3.0, a=0.25))])
    choices = read(tmp_path)
    assert (sorted(choices.rewards.tolist()), choices.incomplete) == ([2.0, 3.0], 1)


def test_a_log_in_which_nothing_was_left_to_chance_is_refused(tmp_path: Path) -> None:
    FeedbackLog(tmp_path).add([page("r1", "ann", certain(0, "m"), place(1, "a", 0.5))])
    with pytest.raises(BadLog, match="got 1 other places and 1 without"):
        read(tmp_path)


def test_a_propensity_of_nothing_is_refused_with_its_place(tmp_path: Path) -> None:
    FeedbackLog(tmp_path).add([page("r1", "ann", place(1, "a", 1.0), place(5, "b", 0.0, c=1.0))])
    with pytest.raises(BadLog, match=r"1 of 2 places .* no propensity above 0 .* place 5 of request r1: 0\.0"):
        read(tmp_path)


def test_a_folder_without_a_log_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(BadLog, match="expected a feedback log"):
        read(tmp_path)
    told = CliRunner().invoke(app, ["evaluate", "ranking", "--data", str(tmp_path), "--protocol", "off-policy"])
    assert isinstance(told.exception, BadLog)


def test_the_command_judges_policies_by_a_log(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pages = []
    for number in range(400):
        good = bool(rng.random() < 0.8)
        shown, other, propensity = ("good", "bad", 0.8) if good else ("bad", "good", 0.2)
        chosen = place(1, shown, propensity, float(good) + float(rng.normal(0, 0.1)), **{other: 1 - propensity})
        pages.append(page(f"r{number}", f"u{number % 100}", certain(0, "m"), chosen))
    FeedbackLog(tmp_path / "log").add(pages)
    html = tmp_path / "page.html"
    command = ["evaluate", "ranking", "--protocol", "off-policy", "--seed", "3"]
    told = CliRunner().invoke(app, [*command, "--data", str(tmp_path / "log"), "--page", str(html)])
    assert told.exit_code == 0, told.output
    figures = json.loads(told.stdout.splitlines()[-1])
    assert [figures[name] for name in ("choices", "viewers", "main places left out", "seed")] == ["400", "100", "400", "3"]
    even, best = figures["uniform among the new"], figures["best by expected reward"]
    # Half of the time the good video, which earns 1, and half of the time the bad one, which earns nothing.
    assert even["ips"] == pytest.approx(0.5, abs=0.1)
    assert even["dr"] == pytest.approx(0.5, abs=0.05)
    assert best["dr"] == pytest.approx(1.0, abs=0.05)
    assert best["doubt"] == ""
    assert html.read_text().count('class="dot"') == 12
