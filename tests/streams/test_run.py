"""Running a flow: one process a folder."""

from pathlib import Path

import pytest

from streams.flows.run import AlreadyRuns, _held


def test_two_processes_never_share_a_recovery_folder(tmp_path: Path) -> None:
    with _held(tmp_path), pytest.raises(AlreadyRuns, match="already"), _held(tmp_path):
        pass
    with _held(tmp_path):
        pass
