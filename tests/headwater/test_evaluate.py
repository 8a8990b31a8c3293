"""`headwater evaluate perception`, on a folder as its users have one."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater.cli import app
from models.perception.evaluation.clips import DEPTHS
from simulation.clips import installed
from tests.conftest import RunningHouse, RunningStack

TOPICS = ("cooking", "chess", "cycling", "cats")


@pytest.mark.stack
def test_clips_of_a_folder_are_perceived_and_shown_on_a_page(house: RunningHouse, tmp_path: Path) -> None:
    clips = installed()
    for clip in clips:
        shutil.copy(clip.path, tmp_path)
    rows = "".join(f'{clip.path.name},"{clip.title}"\n' for clip in clips)
    (tmp_path / "clips.csv").write_text(f"file,label\n{rows}")
    told = house.run("evaluate", "perception", str(tmp_path), "--page", str(tmp_path / "page.html"))
    figures = json.loads(told.splitlines()[-1])
    assert set(figures) == {*DEPTHS, "decoder_peak_mb", "refused"}
    assert figures["+ key frames"]["recall_at_1"] >= 2 / 3
    assert len(figures["as it runs"]["took_ms"]) == len(clips)
    assert (tmp_path / "page.html").read_text().count("<article>") == len(clips)


@pytest.mark.stack
def test_recommenders_are_compared_on_a_folder_of_watches(house: RunningHouse, tmp_path: Path) -> None:
    videos = "".join(f"v{at},a film about {TOPICS[at % 4]} number {at}\n" for at in range(24))
    (tmp_path / "videos.csv").write_text(f"video_id,title\n{videos}")
    watched = "".join(f"u{viewer},v{(viewer + at) % 24},{1_700_000_000 + 60 * at}\n" for viewer in range(60) for at in range(6))
    (tmp_path / "interactions.csv").write_text(f"user_id,video_id,timestamp\n{watched}")
    page = tmp_path / "page.html"
    told = house.run("evaluate", "ranking", "--data", str(tmp_path), "--no-libraries", "--page", str(page))
    figures = json.loads(told.splitlines()[-1])
    assert {"popular", "recent", "item_knn", "title_knn", "sasrec_ids", "sasrec_titles", "two_towers"} <= set(figures)
    assert (figures["viewers"], figures["videos"], figures["protocol"]) == ("60", "24", "leave-one-out")
    assert 0 < figures["item_knn"]["hr_at_10_low"] <= figures["item_knn"]["hr_at_10"] <= figures["item_knn"]["hr_at_10_high"]
    assert page.read_text().count('class="track') == 3 * 7


@pytest.mark.stack
def test_a_folder_of_watches_is_replayed_in_the_order_of_time(house: RunningHouse, tmp_path: Path) -> None:
    videos = "".join(f"v{at},a film about {TOPICS[at % 4]} number {at}\n" for at in range(24))
    (tmp_path / "videos.csv").write_text(f"video_id,title\n{videos}")
    # A viewer an hour, each of whom goes from one video to the next.
    watched = "".join(
        f"u{viewer},v{(viewer * 7 + at) % 24},{1_700_000_000 + 3_600 * viewer + 60 * at}\n"
        for viewer in range(60)
        for at in range(6)
    )
    (tmp_path / "interactions.csv").write_text(f"user_id,video_id,timestamp\n{watched}")
    page = tmp_path / "page.html"
    options = ["--protocol", "prequential", "--sync-hours", "12", "--no-libraries", "--page", str(page)]
    told = house.run("evaluate", "ranking", "--data", str(tmp_path), *options)
    figures = json.loads(told.splitlines()[-1])
    assert (figures["watches"], figures["protocol"], figures["syncs"]) == ("324", "prequential", "5")
    assert figures["blend"]["hr_at_10"] > figures["popular"]["hr_at_10"]
    assert page.read_text().count("<polyline") == 8


@pytest.mark.stack
def test_viewers_of_a_folder_are_asked_about_without_a_language_model(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = "".join(f"v{at},a film about {TOPICS[at % 4]} number {at}\n" for at in range(40))
    (tmp_path / "videos.csv").write_text(f"video_id,title\n{videos}")
    # Each of whom watches what is of one topic.
    watched = "".join(
        f"u{viewer},v{(4 * (viewer // 4 + at * (1 + viewer % 3)) + viewer % 4) % 40},{1_700_000_000 + 3_600 * at + viewer}\n"
        for viewer in range(80)
        for at in range(6)
    )
    (tmp_path / "interactions.csv").write_text(f"user_id,video_id,timestamp\n{watched}")
    monkeypatch.setenv("HEADWATER_TRITON__GRPC_URL", stack.settings.triton.grpc_url)
    monkeypatch.setenv("HEADWATER_VAR", str(tmp_path / "var"))
    page = tmp_path / "page.html"
    options = ["--viewers", "50", "--learned-viewers", "20", "--recommender", "title_knn", "--page", str(page)]
    told = CliRunner().invoke(app, ["evaluate", "viewers", "--data", str(tmp_path), "--without-agent", *options])
    assert told.exit_code == 0, told.output
    rows = json.loads(told.stdout.splitlines()[-1])
    assert (rows["viewers"], rows["learned viewers"], rows["others"]) == ("50", "20", "first, by title_knn")
    names = ["chance", "recommender", "reversed order", "popular", "interests"]
    assert [name for name in rows if isinstance(rows[name], dict)] == names
    assert rows["chance"]["segments"]["all"]["one_of_4"] == [0.25, 0.25, 0.25]
    ours, round_ = (rows[name]["segments"]["all"]["wanted_likelier"] for name in ("recommender", "reversed order"))
    assert ours[1] <= ours[0] <= ours[2]
    assert ours[0] + round_[0] == pytest.approx(1, abs=1e-3)
    assert list(rows["interests"]["over"]) == ["recommender"]
    assert rows["interests"]["segments"]["known 0-5"]["viewers"] == 50
    assert page.read_text().count('class="track') == 5 * 5


def test_viewers_without_a_language_model_are_said_to_want_one() -> None:
    told = CliRunner().invoke(app, ["evaluate", "viewers", "--data", "movielens-100k"], env={"HEADWATER_AGENT__URL": ""})
    assert told.exit_code != 0
    assert "run `make llm` and set agent.url" in str(told.exception)


def test_an_adapter_has_a_name_and_a_folder() -> None:
    told = CliRunner().invoke(app, ["evaluate", "viewers", "--data", "movielens-100k", "--adapter", "mine"])
    assert told.exit_code == 2
    assert "expected NAME=FOLDER, got 'mine'" in " ".join(told.output.replace("│", " ").split())


def test_an_adapter_is_not_named_as_what_is_tuned_beside_it() -> None:
    asked = ["evaluate", "viewers", "--data", "movielens-100k", "--adapter", "sft=folder", "--taught-viewers", "9"]
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 2
    assert "--taught-viewers names its own so" in " ".join(told.output.replace("│", " ").split())


def test_the_help_for_viewers_says_what_is_asked() -> None:
    told = " ".join(CliRunner().invoke(app, ["evaluate", "viewers", "--help"]).output.replace("│", " ").split())
    assert "1 of 4 and 1 of 5" in told
    assert "HEADWATER_AGENT__URL=local" in told


def test_a_folder_of_too_few_watches_to_replay_says_so(tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_text("video_id,title\na,A film\n")
    (tmp_path / "interactions.csv").write_text("user_id,video_id,timestamp\nu,a,1700000000\n")
    told = CliRunner().invoke(app, ["evaluate", "ranking", "--data", str(tmp_path), "--protocol", "prequential"])
    assert told.exit_code != 0
    assert "expected watches to be judged, and others before them; got 1" in str(told.exception)


def test_what_is_no_data_set_is_said_to_be_none(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["evaluate", "ranking", "--data", str(tmp_path / "nowhere")])
    assert told.exit_code != 0
    assert "expected movielens-100k, or a folder" in str(told.exception)


def test_a_folder_without_clips_is_said_to_be_one() -> None:
    told = CliRunner().invoke(app, ["evaluate", "perception", "docs"])
    assert told.exit_code != 0
    assert "clips.csv with the columns file and label" in str(told.exception)


def test_the_help_says_what_is_measured() -> None:
    told = CliRunner().invoke(app, ["evaluate", "perception", "--help"]).output
    assert "clips.csv (file, label)" in told
    assert "finds its label" in " ".join(told.split())
