"""A torch module as an ONNX file, and the proof that both compute the same."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from models.export import ExportFailed

# Float32 kernels differ by about 1e-6 of a value; more than this and the graph computes something else.
MAX_ERROR = 1e-4


def write(
    model: torch.nn.Module, folder: Path, inputs: dict[str, NDArray[Any]], outputs: list[str], *, free: dict[int, str]
) -> None:
    """Write `model` to `folder`/model.onnx; `free` names the axes of every input that may have another length."""
    axes = {at: torch.export.Dim(name) for at, name in free.items()}
    with quiet():
        torch.onnx.export(
            model,
            tuple(torch.from_numpy(value) for value in inputs.values()),
            folder / "model.onnx",
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=dict.fromkeys(inputs, axes),
            external_data=False,
            verbose=False,
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep out of the log what exporters tell of each node, of operators in packages that are not here, and of axes."""
    talkative = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [each.level for each in talkative]
    for each in talkative:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(talkative, levels, strict=True):
            each.setLevel(level)


def session(folder: Path) -> onnxruntime.InferenceSession:
    """Return the graph in `folder`, ready to run."""
    return onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])


def proven(model: torch.nn.Module, folder: Path, *inputs: dict[str, NDArray[Any]]) -> str:
    """Return how far the graph in `folder` is from `model` on `inputs`, in words.

    Raises:
        ExportFailed: by more than `MAX_ERROR`, absolute or of the value.
    """
    graph = session(folder)
    worst = 0.0
    for given in inputs:
        with torch.inference_mode():
            expected = model(*(torch.from_numpy(value) for value in given.values()))
        for one, got in zip(expected if isinstance(expected, tuple) else (expected,), graph.run(None, given), strict=True):
            worst = max(worst, float((np.abs(one.numpy() - got) / np.maximum(1.0, np.abs(got))).max()))
    if worst > MAX_ERROR:
        raise ExportFailed(f"{folder}/model.onnx: expected torch's outputs within {MAX_ERROR}, got a difference of {worst}")
    return f"within {worst:.0e} of torch"
