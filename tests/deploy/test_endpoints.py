"""A running stack's addresses are found by others, and only while it runs."""

from pathlib import Path

import pytest

from deploy.local.endpoints import AlreadyRunning, Claim, Endpoints, running

ENDPOINTS = Endpoints(kafka="127.0.0.1:1", redis="127.0.0.1:2", triton_grpc="127.0.0.1:3", triton_http="127.0.0.1:4")


def test_endpoints_are_found_while_their_stack_runs_and_not_after(tmp_path: Path):
    assert running(tmp_path) is None
    with Claim(tmp_path) as claim:
        assert running(tmp_path) is None
        claim.publish(ENDPOINTS)
        assert running(tmp_path) == ENDPOINTS
    assert running(tmp_path) is None


def test_a_file_that_a_killed_stack_left_is_not_believed(tmp_path: Path):
    with Claim(tmp_path) as claim:
        claim.publish(ENDPOINTS)
        left = (tmp_path / "run" / "endpoints.json").read_bytes()
    (tmp_path / "run" / "endpoints.json").write_bytes(left)
    assert running(tmp_path) is None


def test_a_second_stack_in_the_same_folder_is_refused(tmp_path: Path):
    with Claim(tmp_path), pytest.raises(AlreadyRunning, match="HEADWATER_VAR"):
        Claim(tmp_path)
