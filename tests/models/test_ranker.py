"""The ranker that serves: it computes what was trained, and a folder that holds none is refused with words that help."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from models.ranking import folder as written
from models.ranking.features import NAMES
from models.ranking.objectives import OBJECTIVES
from models.ranking.ranker import GRAPH, MANIFEST, WEIGHTS, BadModel, Ranker
from tests.models.planted import features
from tests.ranker import network


@pytest.fixture
def folder(ranker_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(ranker_folder, tmp_path / "ranker"))


def test_the_graph_computes_what_the_network_does(ranker_folder: Path) -> None:
    rows = features(np.random.default_rng(1), 1_000)
    rows[0], rows[1] = 0.0, 60_000.0
    found = Ranker.load(ranker_folder).predict(rows)
    assert found.shape == (1_000, len(OBJECTIVES))
    assert np.abs(found - network().predict(rows)).max() < 1e-5


def test_one_row_and_none_are_scored_as_well(ranker_folder: Path) -> None:
    ranker = Ranker.load(ranker_folder)
    rows = features(np.random.default_rng(1), 3)
    assert ranker.predict(rows[:0]).shape == (0, len(OBJECTIVES))
    assert np.allclose(ranker.predict(rows[:1]), ranker.predict(rows)[:1], atol=1e-6)


def test_serving_scores_what_the_log_will_say(ranker_folder: Path) -> None:
    exact = features(np.random.default_rng(1), 10) * np.float32(1.0001)
    logged = exact.astype(np.float16).astype(np.float32)
    assert (exact != logged).any()
    ranker = Ranker.load(ranker_folder)
    assert (ranker.predict(exact) == ranker.predict(logged)).all()


def test_what_was_written_is_read_back_to_train_on(ranker_folder: Path) -> None:
    read, manifest = written.read(ranker_folder)
    assert manifest.learned_until == 7
    before = network().state_dict()
    assert all(torch.equal(weight, before[name]) for name, weight in read.state_dict().items())


def spoil(folder: Path, **changes: object) -> None:
    """Change fields of the manifest."""
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest | changes))


def spoil_graph(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change the graph, and the manifest so that it is the graph's."""
    model = onnx.load(folder / GRAPH)
    change(model)
    raw = model.SerializeToString()
    (folder / GRAPH).write_bytes(raw)
    spoil(folder, sha256=hashlib.sha256(raw).hexdigest())


def with_nan(model: onnx.ModelProto) -> None:
    weights = next(each for each in model.graph.initializer if len(each.dims) == 2)
    values = numpy_helper.to_array(weights).copy()
    values[0] = np.nan
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))


def with_other_weights(model: onnx.ModelProto) -> None:
    weights = next(each for each in model.graph.initializer if len(each.dims) == 2)
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * -1.0, weights.name))


def cut_off(folder: Path) -> None:
    raw = (folder / GRAPH).read_bytes()
    (folder / GRAPH).write_bytes(raw[: len(raw) // 2])


def no_graph_at_all(folder: Path) -> None:
    (folder / GRAPH).write_bytes(b"not ONNX")
    spoil(folder, sha256=hashlib.sha256(b"not ONNX").hexdigest())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (cut_off, "expected model.onnx of sha256 .*cut off, or not the file of this manifest; copy the folder again"),
        (lambda folder: (folder / GRAPH).unlink(), "expected a file model.onnx"),
        (lambda folder: (folder / MANIFEST).unlink(), "expected a manifest.json, got none; name the folder"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "expected a manifest.json of JSON"),
        (lambda folder: (folder / MANIFEST).write_text("[1]"), "expected a manifest.json of JSON"),
        (lambda folder: spoil(folder, format=2), "expected format 1, got format 2; train a ranker with this version"),
        (lambda folder: spoil(folder, sha256=5), "expected a manifest.json of format 1, got Expected `str`"),
        (lambda folder: spoil(folder, features_version=9), "expected features of version 1, got version 9; train a ranker on"),
        (lambda folder: spoil(folder, features=NAMES[1:]), r"got others: \['viewer_known'\]"),
        (lambda folder: spoil(folder, features=NAMES[::-1]), "got others: another order"),
        (lambda folder: spoil(folder, objectives=["like"]), "expected objectives complete, .*, got like"),
        (no_graph_at_all, r"expected a graph of one input, features \(n, 36\), got .*; export it again"),
        (
            lambda folder: spoil_graph(folder, with_nan),
            "expected probabilities for a row of ones, got .*nan.*weights are broken",
        ),
        (lambda folder: spoil_graph(folder, with_other_weights), "for a row of ones, got .*; export it again on this machine"),
    ],
)
def test_a_folder_that_holds_no_ranker_is_refused_with_what_to_do(
    folder: Path, change: Callable[[Path], object], words: str
) -> None:
    change(folder)
    with pytest.raises(BadModel, match=words):
        Ranker.load(folder)


def test_weights_that_are_missing_or_no_weights_are_refused(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"not weights")
    with pytest.raises(BadModel, match="expected its weights in"):
        written.read(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(BadModel, match="train one from nothing"):
        written.read(folder)
