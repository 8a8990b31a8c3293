"""A log gives back what it was given, from any offset, in answers of any size, and forgets by age."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.broker import log as log_module
from deploy.local.broker.batch import batch_of
from deploy.local.broker.log import Log, OffsetOutOfRange
from tests.deploy.broker.making import batch


def filled(folder: Path, batches: list[tuple[int, int]]) -> tuple[Log, bytes]:
    """Return a log of batches of so many records and bytes, and all that is to be read of it."""
    log, whole = Log(folder), b""
    for records, size in batches:
        offset = log.append(batch_of(batch(records, size)), appended_at=None)
        whole += offset.to_bytes(8, "big") + batch(records, size)[8:12] + b"\0\0\0\0" + batch(records, size)[16:]
    return log, whole


def batch_sizes(data: bytes) -> list[int]:
    sizes = []
    while data:
        sizes.append(int.from_bytes(data[8:12], "big") + 12)
        data = data[sizes[-1] :]
    return sizes


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "SEGMENT_BYTES", 1_000)
    monkeypatch.setattr(log_module, "INDEX_BYTES", 300)


BATCHES = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 400)), min_size=1, max_size=30)


@given(batches=BATCHES, max_bytes=st.integers(0, 3_000))
def test_all_of_it_is_read_step_by_step(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[int, int]], max_bytes: int
):
    log, whole = filled(tmp_path_factory.getbasetemp(), batches)
    read, offset = b"", 0
    while offset < log.end:
        part = log.read(offset, max_bytes)
        sizes = batch_sizes(part)
        # Within the bound, but for a first batch that is larger: without it a reader would never get past it.
        assert len(part) <= max_bytes or len(sizes) == 1
        read += part
        last = part[-sizes[-1] :]
        offset = int.from_bytes(last[:8], "big") + int.from_bytes(last[23:27], "big") + 1
    assert read == whole
    assert log.bytes_from(0) == len(whole)
    assert log.read(log.end, max_bytes) == b""


@given(batches=BATCHES, data=st.data())
def test_an_offset_within_a_batch_brings_that_batch(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[int, int]], data: st.DataObject
):
    log, _ = filled(tmp_path_factory.getbasetemp(), batches)
    offset = data.draw(st.integers(0, log.end - 1))
    part = log.read(offset, 1)
    first, records = int.from_bytes(part[:8], "big"), int.from_bytes(part[23:27], "big") + 1
    assert first <= offset < first + records
    assert len(batch_sizes(part)) == 1


def test_what_is_old_goes_file_by_file_and_is_out_of_range_then(tmp_path: Path):
    log = Log(tmp_path)
    for second in range(40):
        log.append(batch_of(batch(size=200)), appended_at=1_000 * second)
    log.expire(20_000)
    assert 0 < log.start <= 20
    assert log.end == 40
    with pytest.raises(OffsetOutOfRange, match=f"expected {log.start} to 40, got 0"):
        log.read(0, 1_000)
    with pytest.raises(OffsetOutOfRange):
        log.read(41, 1_000)
    log.expire(10**9)
    # All of it went, and the log goes on where it was.
    assert (log.start, log.end, log.bytes_from(40), log.read(40, 100)) == (40, 40, 0, b"")
    assert log.append(batch_of(batch()), appended_at=10**9) == 40
    assert log.start == 40


def test_a_trickle_ages_too(tmp_path: Path):
    log, hour = Log(tmp_path), log_module.SEGMENT_MS
    for number in range(10):
        log.append(batch_of(batch(size=1)), appended_at=number * hour // 2)
    log.expire(3 * hour)
    assert 0 < log.start <= 6


def test_a_time_is_found_though_the_clock_was_set_back(tmp_path: Path):
    log = Log(tmp_path)
    for at in (1_000, 5_000, 2_000, 6_000):
        log.append(batch_of(batch(2)), appended_at=at)
    assert log.offset_at(0) == (0, 1_000)
    assert log.offset_at(1_001) == (2, 5_000)
    assert log.offset_at(5_001) == (6, 6_000)
    assert log.offset_at(6_001) is None


def test_on_a_full_disk_nothing_half_written_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log, write = Log(tmp_path), os.pwrite
    log.append(batch_of(batch(2)), appended_at=None)

    def full(file: int, data: bytes, at: int) -> int:
        if len(data) < 50:
            raise OSError(28, "No space left on device")
        return write(file, data[: len(data) // 2], at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        log.append(batch_of(batch(3)), appended_at=None)
    monkeypatch.undo()
    assert log.end == 2
    assert log.append(batch_of(batch(4)), appended_at=None) == 2
    assert len(batch_sizes(log.read(0, 10_000))) == 2


def test_its_files_have_no_names(tmp_path: Path):
    filled(tmp_path, [(1, 300)] * 20)
    assert list(tmp_path.iterdir()) == []
