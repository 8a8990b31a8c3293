"""`headwater evaluate perception`, on a folder as its users have one."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater.cli import app
from models.perception.evaluation.clips import DEPTHS
from simulation.clips import installed
from tests.conftest import RunningHouse


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


def test_a_folder_without_clips_is_said_to_be_one() -> None:
    told = CliRunner().invoke(app, ["evaluate", "perception", "docs"])
    assert told.exit_code != 0
    assert "clips.csv with the columns file and label" in str(told.exception)


def test_the_help_says_what_is_measured() -> None:
    told = CliRunner().invoke(app, ["evaluate", "perception", "--help"]).output
    assert "clips.csv (file, label)" in told
    assert "finds its label" in " ".join(told.split())
