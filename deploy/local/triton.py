"""The embedded Triton: the server out of NVIDIA's wheel, with Python models that run ONNX sessions."""

import os
import shutil
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local import binaries
from deploy.local.binaries import CHECKOUT, TritonInstall
from deploy.local.ports import LOOPBACK
from deploy.local.process import NotReady, Server

# Those whose weights are exported; the reader's come with its library, and an ensemble is loaded after its parts.
EXPORTED = ("text_encoder", "frame_encoder", "object_detector", "unsafe_scorer", "sound_tagger")
MODELS = (*EXPORTED, "text_reader", "ip_agent")
# Some eight thousand embeddings of one text each; the cache evicts what was not asked for longest.
RESPONSE_CACHE_BYTES = 16_777_216
REPOSITORY = CHECKOUT / "models" / "repository"


@dataclass(frozen=True)
class TritonPorts:
    grpc: int
    http: int
    metrics: int


def server(
    ports: TritonPorts,
    *,
    environment: Path,
    models_dir: Path,
    folder: Path,
    repository: Path = REPOSITORY,
    models: Sequence[str] = MODELS,
) -> Server:
    """Return Triton on `ports`, serving `models` of `repository` with the exported weights in `models_dir`.

    `folder` is for what it needs assembled.
    """
    install = binaries.triton(environment)
    # Its own prefix, so that what a killed server leaves in shared memory is known to be ours.
    regions = f"headwater_{os.getpid()}_{ports.grpc}_"
    return Server(
        name="triton",
        command=[
            install.program,
            f"--model-repository={repository}",
            f"--backend-directory={_assemble_backends(install, folder)}",
            f"--backend-config=python,shm-region-prefix-name={regions}",
            "--model-control-mode=explicit",
            f"--cache-directory={install.root / 'caches'}",
            f"--cache-config=local,size={RESPONSE_CACHE_BYTES}",
            *(f"--load-model={model}" for model in models),
            *(f"--{kind}-address={LOOPBACK}" for kind in ("grpc", "http", "metrics")),
            f"--grpc-port={ports.grpc}",
            f"--http-port={ports.http}",
            f"--metrics-port={ports.metrics}",
            "--allow-gpu-metrics=false",
            # Requests are retried by their callers: waiting for them only delays a stop.
            "--exit-timeout-secs=2",
        ],
        environment={
            # Triton's own libraries, then the libpython that belongs to the stub's interpreter and no other.
            "LD_LIBRARY_PATH": f"{install.packages / 'nvidia_pytriton.libs'}:{install.libpython.parent}",
            # The models run with the first `python` on the path: it must be the one with numpy below 2.
            "PATH": f"{install.environment / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(install.packages),
            "HEADWATER_MODELS_DIR": str(models_dir.resolve()),
        },
        ready=lambda: check_models(f"{LOOPBACK}:{ports.http}", models),
        cleanup=lambda: _remove_regions(regions),
    )


def check_models(http_address: str, models: Sequence[str] = MODELS, *, timeout_s: float = 2.0) -> None:
    """Raise NotReady unless the server at `http_address` (host:port) serves every one of `models`."""
    for path in ("health/ready", *(f"models/{model}/ready" for model in models)):
        try:
            urllib.request.urlopen(f"http://{http_address}/v2/{path}", timeout=timeout_s).close()
        except OSError as error:
            raise NotReady(f"Triton at {http_address}: {path}: {error}") from error


def _assemble_backends(install: TritonInstall, folder: Path) -> Path:
    """Return a backend folder with the stub of our Python in it, as Triton wants to find it."""
    python = folder.resolve() / "backends" / "python"
    shutil.rmtree(python, ignore_errors=True)
    python.mkdir(parents=True)
    for part in (*(install.root / "backends" / "python").iterdir(), install.stub):
        # Links and no copies: a stub that still runs after a kill can't be written over.
        (python / part.name).symlink_to(part)
    return python.parent


def _remove_regions(prefix: str) -> None:
    for region in Path("/dev/shm").glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
