from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.perception.encoders import Encoder
from models.perception.evaluation import page
from models.perception.evaluation.clips import DEPTHS, NoClips, evaluate, labelled, retrieval
from models.perception.evaluation.titles import auc, coherence
from models.perception.plain import PlainUnderstanding
from models.settings import MediaSettings


def test_clips_that_lie_at_their_labels_are_all_found() -> None:
    found = retrieval(np.eye(4, dtype=np.float32), range(4))
    assert (found.recall(1), found.recall(5), found.mean_rank()) == (1.0, 1.0, 1.0)


def test_a_perception_that_says_nothing_finds_nothing() -> None:
    found = retrieval(np.zeros((8, 8), np.float32), range(8))
    assert (found.recall(1), found.recall(5), found.mean_rank()) == (0.0, 0.0, 8.0)


def test_a_label_that_is_near_to_everything_hides_others_until_it_is_centred() -> None:
    similarity = np.eye(4, dtype=np.float32) * 0.2
    similarity[:, 0] += 0.5
    found = retrieval(similarity, range(4))
    assert found.recall(1) == 0.25
    assert found.recall(1, centred=True) == 1.0


def test_clips_of_one_label_are_no_rivals() -> None:
    similarity = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]], np.float32)
    assert retrieval(similarity, [0, 0, 1]).recall(1) == 1.0


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "expected .*clips.csv with the columns file and label"),
        ("file,label\n", "got none"),
        ("name,text\na.mp4,a cat\n", "got name, text"),
        ("file,label\na.mp4,a cat\n", "a.mp4 is missing"),
        ("file,label\nclips.csv,\n", "clips.csv has none"),
        ("file,label\nclips.csv\n", "clips.csv has none"),
    ],
)
def test_a_folder_that_is_none_of_clips_says_what_is_wrong(tmp_path: Path, content: str | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "clips.csv").write_text(content)
    with pytest.raises(NoClips, match=expected):
        labelled(tmp_path)


def test_clips_are_perceived_at_every_depth_and_shown_on_a_page(
    encoder: Encoder, tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    names = ("red", "green", "blue")
    for name in names:
        make_clip(f"{name}.mp4", colours=[name], seconds_each=0.5)
    rows = "".join(f"{name}.mp4,{name}\n" for name in names)
    (tmp_path / "clips.csv").write_text(f"\N{ZERO WIDTH NO-BREAK SPACE}file,label\n{rows}", encoding="utf-8")
    media, done = MediaSettings(roots=(tmp_path,)), []
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)
    with (tmp_path / "clips.csv").open("a") as file:
        file.write("broken.mp4,nothing\n")
    report = evaluate(labelled(tmp_path), encoder, PlainUnderstanding(encoder), media, done=lambda: done.append(1))
    assert len(done) == 3 * len(DEPTHS)
    assert "can't be read" in report.refused["broken.mp4"]
    assert [depth.retrieval.recall(1) for depth in report.depths] == [1.0] * len(DEPTHS)
    assert [depth.spared() for depth in report.depths] == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert report.figures()["as it runs"]["recall_at_5"] == 1.0  # type: ignore[index]
    page.write(report, tmp_path / "out" / "page.html", media, facts={"folder": "<b>clips</b>"})
    written = (tmp_path / "out" / "page.html").read_text()
    assert written.count("<article>") == 3
    assert "found at 1" in written
    assert "&lt;b&gt;clips&lt;/b&gt;" in written
    assert "http" not in written.replace("https://www.w3.org", "")


def test_an_auc_counts_ties_half() -> None:
    assert auc(np.array([1.0, 1.0]), np.array([0.0, 0.0])) == 1.0
    assert auc(np.array([1.0]), np.array([1.0])) == 0.5
    assert auc(np.array([0.0]), np.array([1.0])) == 0.0


def test_viewers_who_keep_to_a_subject_are_coherent_and_those_who_do_not_are_not() -> None:
    rng = np.random.default_rng(0)
    subjects = rng.normal(size=(4, 16))
    embeddings = (subjects[np.arange(400) % 4] + 0.3 * rng.normal(size=(400, 16))).astype(np.float32)
    faithful = [np.flatnonzero(np.arange(400) % 4 == viewer % 4)[viewer : viewer + 10] for viewer in range(40)]
    fickle = [rng.choice(400, 10, replace=False) for _ in range(40)]
    assert coherence(embeddings, faithful, seed=0, pairs=4000)["random"] > 0.8
    assert coherence(embeddings, fickle, seed=0, pairs=4000)["random"] == pytest.approx(0.5, abs=0.03)


def test_viewers_of_one_video_say_nothing() -> None:
    with pytest.raises(ValueError, match="viewers of two videos or more"):
        coherence(np.zeros((3, 4), np.float32), [np.array([1]), np.array([2, 2])], seed=0)
