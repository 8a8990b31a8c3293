"""The record of decisions: durable, readable whatever a crash left of it, and what it comes to for each model."""

import json
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.learning import record
from models.learning.record import FILE, NOTHING_CHANGED, Decision, Standing, What, append, read, standing

A, B, C = ("20260101T000000-aaaaaaaa", "20260102T000000-bbbbbbbb", "20260103T000000-cccccccc")


def decided(what: What, version: str = "", *, to: str = "", at: int = 1, model: str = "agent", reason: str = "r") -> Decision:
    return Decision(at=at, model=model, what=what, by="gate", reason=reason, version=version, to=to)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file grow past `size`, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_decisions_are_read_as_they_were_made(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == []
    made = [decided("released", A), msgspec.structs.replace(decided("refused"), figures={"hr": 0.1, "loss": None})]
    for one in made:
        append(tmp_path, one)
    assert read(tmp_path) == made


def test_a_figure_that_is_no_number_costs_no_decision(tmp_path: Path) -> None:
    append(tmp_path, msgspec.structs.replace(decided("refused"), figures={"loss": float("nan")}))
    (back,) = read(tmp_path)
    assert back.figures == {"loss": None}


def test_a_torn_last_line_is_left_out_and_takes_no_other_with_it(tmp_path: Path) -> None:
    append(tmp_path, decided("released", A))
    whole = (tmp_path / FILE).read_bytes()
    with (tmp_path / FILE).open("ab") as file:
        file.write(whole[: len(whole) // 2])
    assert read(tmp_path) == [decided("released", A)]
    append(tmp_path, decided("released", B))
    assert read(tmp_path) == [decided("released", A), decided("released", B)]


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe", b"{}", b"[]", b"null", b"{" * 5_000,
        json.dumps({"at": 1, "model": "agent", "what": "released", "by": "", "reason": "", "version": "../../etc"}).encode(),
        json.dumps({"at": 1, "model": "../x", "what": "released", "by": "", "reason": "", "version": A}).encode(),
        json.dumps({"at": 1, "model": "agent", "what": "deleted", "by": "", "reason": "", "version": A}).encode(),
    ],
)  # fmt: skip
def test_what_is_no_decision_is_left_out(tmp_path: Path, line: bytes) -> None:
    append(tmp_path, decided("released", A))
    with (tmp_path / FILE).open("ab") as file:
        file.write(line + b"\n")
    append(tmp_path, decided("released", B))
    assert [one.version for one in read(tmp_path)] == [A, B]


def test_a_full_disk_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    append(tmp_path, decided("released", A))
    whole = (tmp_path / FILE).read_bytes()
    with room_for(len(whole) + 20), pytest.raises(OSError, match="File too large"):
        append(tmp_path, decided("released", B))
    assert (tmp_path / FILE).read_bytes() == whole


def test_a_long_record_loses_its_oldest_refusals_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MOST_BYTES", 20_000)
    monkeypatch.setattr(record, "KEPT_REFUSALS", 10)
    append(tmp_path, decided("released", A))
    for number in range(300):
        append(tmp_path, decided("refused", at=number))
    left = read(tmp_path)
    assert (tmp_path / FILE).stat().st_size <= 20_000
    assert left[0] == decided("released", A)
    assert [one.at for one in left[1:]] == list(range(300 - len(left) + 1, 300))


def test_two_who_decide_wait_for_each_other(tmp_path: Path) -> None:
    entered = threading.Event()

    def other() -> None:
        with record.alone(tmp_path):
            entered.set()

    thread = threading.Thread(target=other)
    with record.alone(tmp_path):
        thread.start()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()


def test_what_is_released_serves_until_the_next_is(tmp_path: Path) -> None:
    now = standing([decided("released", A, at=1), decided("refused", at=2), decided("released", B, at=3)], "agent")
    assert (now.serving, now.since, now.served) == (B, 3, (A, B))
    assert standing([decided("released", A)], "towers") == Standing()


def test_a_canary_serves_beside_until_it_is_promoted() -> None:
    begun = [decided("released", A, at=1), decided("canary", B, at=2)]
    now = standing(begun, "agent")
    assert (now.serving, now.canary, now.canary_since) == (A, B, 2)
    now = standing([*begun, decided("promoted", B, at=3)], "agent")
    assert (now.serving, now.since, now.canary, now.served) == (B, 3, "", (A, B))


def test_a_canary_that_is_rolled_back_leaves_what_serves_as_it_was() -> None:
    now = standing([decided("released", A, at=1), decided("canary", B), decided("rolled back", B, to=A, at=3)], "agent")
    assert (now.serving, now.since, now.canary, now.rolled_back) == (A, 1, "", {B})


def test_rolled_back_twice_the_one_before_the_one_before_serves() -> None:
    released = [decided("released", version) for version in (A, B, C)]
    once = [*released, decided("rolled back", C, to=B)]
    assert standing(once, "agent").served == (A, B)
    now = standing([*once, decided("rolled back", B, to=A)], "agent")
    assert (now.serving, now.served, now.rolled_back) == (A, (A,), {B, C})


def test_rolled_back_by_two_none_between_comes_back() -> None:
    now = standing([*(decided("released", version) for version in (A, B, C)), decided("rolled back", C, to=A)], "agent")
    assert (now.serving, now.served) == (A, (A,))


def test_a_pin_ends_the_canary_and_lets_what_was_rolled_back_serve_again() -> None:
    made = [decided("released", A), decided("rolled back", A, to=""), decided("canary", B), decided("pinned", A, at=9)]
    now = standing(made, "agent")
    assert (now.serving, now.since, now.canary, now.pinned, now.rolled_back) == (A, 9, "", A, frozenset())
    assert standing([*made, decided("unpinned", A)], "agent").pinned == ""


VERSIONS = st.sampled_from([A, B, C])
CHANGES = st.builds(
    decided,
    st.sampled_from(["refused", "held", "released", "canary", "promoted", "pinned", "unpinned", "rolled back"]),
    VERSIONS,
    to=VERSIONS,
)


@given(st.lists(CHANGES, max_size=12))
def test_what_serves_and_what_may_at_once_always_stays_on_disk(made: list[Decision]) -> None:
    now = standing(made, "agent")
    assert {now.serving, now.canary, now.pinned} - {""} <= now.kept
    assert now.serving == "" or now.served[-1] == now.serving
    assert now.known == any(one.what not in NOTHING_CHANGED for one in made)
