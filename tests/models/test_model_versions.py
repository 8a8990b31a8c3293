"""A new version of a model, with weights of its own, beside the old one: on a Triton of the test's own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tritonclient.grpc import InferenceServerClient

from deploy.local import triton
from deploy.local.ports import LOOPBACK, choose
from deploy.local.process import RunningServer
from deploy.local.triton import REPOSITORY, TritonPorts
from models.perception.encoders import Encoders
from models.settings import TritonSettings

pytestmark = pytest.mark.stack

MODEL = "unsafe_scorer"
GREY = np.full((2, 260, 260, 3), 127, np.uint8)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the repository, and of one model's weights beside it, that the test may change."""
    shutil.copytree(REPOSITORY / MODEL, tmp_path / "repository" / MODEL)
    shutil.copytree(Path("var/models") / MODEL, tmp_path / "weights" / MODEL)
    return tmp_path / "repository"


@pytest.fixture
def address(repository: Path, tmp_path: Path) -> Iterator[str]:
    ports = TritonPorts(*(choose(0, setting=f"the test's {name} port") for name in ("gRPC", "HTTP", "metrics")))
    server = triton.server(
        ports,
        environment=Path(".venv-triton"),
        models_dir=tmp_path / "weights",
        folder=tmp_path / "triton",
        repository=repository,
        models=(MODEL,),
    )
    running = RunningServer(server, log=tmp_path / "triton.log")
    try:
        running.wait_ready(timeout_s=120)
        yield f"{LOOPBACK}:{ports.grpc}"
    finally:
        running.stop(timeout_s=10)


def sure_of_everything(path: Path) -> None:
    """Write to `path` the scorer of the exported file there, with a bias that makes it sure."""
    graph = onnx.load(path)
    bias = next(tensor for tensor in graph.graph.initializer if list(tensor.dims) == [2])
    bias.CopyFrom(numpy_helper.from_array(np.array([-50, 50], np.float32), bias.name))
    onnx.save(graph, path)


def test_a_version_with_weights_of_its_own_takes_over_and_can_be_taken_back(
    repository: Path, tmp_path: Path, address: str
) -> None:
    encoders, client = Encoders(TritonSettings(grpc_url=address)), InferenceServerClient(address)
    before = encoders.unsafe(GREY)
    weights = tmp_path / "weights" / MODEL
    (weights / "2").mkdir()
    shutil.copy(weights / "model.onnx", weights / "2" / "model.onnx")
    sure_of_everything(weights / "2" / "model.onnx")
    shutil.copytree(repository / MODEL / "1", repository / MODEL / "2")
    client.load_model(MODEL)
    assert (encoders.unsafe(GREY) > 0.99).all()
    assert (before < 0.5).all()
    shutil.rmtree(repository / MODEL / "2")
    client.load_model(MODEL)
    np.testing.assert_allclose(encoders.unsafe(GREY), before, atol=1e-6)
