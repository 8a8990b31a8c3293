"""Batches are taken whole and unharmed, and stamped so that clients still believe their checksum."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.broker.batch import BadBatch, batch_of, placed
from tests.deploy.broker.making import batch


@given(records=st.integers(1, 1_000), size=st.integers(0, 500), offset=st.integers(0, 2**62), at=st.integers(0, 2**42))
def test_a_placed_batch_is_one_again_at_its_offset_and_time(records: int, size: int, offset: int, at: int):
    data = placed(batch_of(batch(records, size)), offset=offset, appended_at=at)
    again = batch_of(data)
    assert struct.unpack_from(">q", data)[0] == offset
    assert (again.records, again.newest_at) == (records, at)
    # LogAppendTime is a bit of the attributes: without it clients would take each record's own time.
    assert struct.unpack_from(">h", data, 21)[0] & 0x08


@given(data=st.data())
def test_a_batch_that_was_changed_on_its_way_is_refused(data: st.DataObject):
    whole = bytearray(batch(3, 100))
    at = data.draw(st.integers(21, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadBatch):
        batch_of(bytes(whole))


@pytest.mark.parametrize("data", [b"", b"short", batch() + batch(), batch()[:-1], batch()[:16] + b"\x01" + batch()[17:]])
def test_what_is_no_batch_is_refused(data: bytes):
    with pytest.raises(BadBatch):
        batch_of(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(data: bytes):
    with pytest.raises(BadBatch):
        batch_of(data)
