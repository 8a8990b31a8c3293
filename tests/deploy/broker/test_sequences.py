"""An idempotent producer's batches are there once and in order, however often they are sent."""

import pytest

from deploy.local.broker.batch import Batch, batch_of
from deploy.local.broker.sequences import Fenced, OutOfOrder, Sequences
from tests.deploy.broker.making import batch


def sent(sequence: int, records: int = 1, *, producer: int = 7, epoch: int = 0) -> Batch:
    return batch_of(batch(records, producer=producer, epoch=epoch, sequence=sequence))


def test_what_is_sent_again_lies_where_it_lay():
    sequences = Sequences()
    for number in range(5):
        assert sequences.offset_of(sent(2 * number, 2)) is None
        sequences.note(sent(2 * number, 2), 100 + 2 * number)
    assert [sequences.offset_of(sent(2 * number, 2)) for number in range(5)] == [100, 102, 104, 106, 108]
    assert sequences.offset_of(sent(10)) is None


def test_a_batch_whose_predecessor_is_missing_is_refused():
    sequences = Sequences()
    sequences.note(sent(0, 3), 0)
    with pytest.raises(OutOfOrder, match="expected sequence number 3 of producer 7, got 4"):
        sequences.offset_of(sent(4))


def test_sequence_numbers_wrap():
    sequences = Sequences()
    sequences.note(sent(2**31 - 2, 3), 0)
    assert sequences.offset_of(sent(2**31 - 2, 3)) == 0
    assert sequences.offset_of(sent(1)) is None


def test_a_producer_that_began_anew_fences_its_former_life():
    sequences = Sequences()
    sequences.note(sent(0), 0)
    with pytest.raises(OutOfOrder):
        sequences.offset_of(sent(5, epoch=1))
    assert sequences.offset_of(sent(0, epoch=1)) is None
    sequences.note(sent(0, epoch=1), 1)
    with pytest.raises(Fenced):
        sequences.offset_of(sent(1, epoch=0))


def test_a_producer_nobody_remembers_goes_on_where_it_is():
    assert Sequences().offset_of(sent(41)) is None


def test_one_that_is_not_idempotent_may_send_the_same_twice():
    sequences, plain = Sequences(), batch_of(batch())
    sequences.note(plain, 0)
    assert sequences.offset_of(plain) is None


def test_what_follows_a_first_batch_that_could_not_be_kept_waits_for_it():
    sequences = Sequences()
    sequences.missed(sent(0, 3))
    # In flight already when the disk had no room, and small enough to fit: before its predecessor it would end its retries.
    with pytest.raises(OutOfOrder):
        sequences.offset_of(sent(3))
    assert sequences.offset_of(sent(0, 3)) is None
