"""`headwater demo`, as a new user runs it: real events in, clips shown, a like in the next page, and nothing left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_the_demo_comes_full_circle(tmp_path: Path) -> None:
    environment = os.environ | {
        "HEADWATER_VAR": str(tmp_path / "var"),
        "HEADWATER_STACK__MODELS_DIR": str(CHECKOUT / "var" / "models"),
        "HEADWATER_API__PORT": "0",
    }
    environment.pop("HEADWATER_DATA", None)
    done = subprocess.run(
        [sys.executable, "-c", "from headwater.cli import main; main()", "demo", "--once"],
        cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "real from movielens-100k" in done.stdout
    assert "People riding bikes through the city" in done.stdout
    assert "because" in done.stdout
    assert "trouble" not in done.stdout
