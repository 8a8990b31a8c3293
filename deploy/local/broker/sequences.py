"""What each idempotent producer sent last, so that what it sends again is there once, and nothing is missing in between."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from deploy.local.broker.batch import NO_PRODUCER, Batch

# A producer has at most so many requests in flight (max.in.flight.requests.per.connection), each of which it may send again.
_KEPT = 5
# Producers of a partition that are remembered; each process has one, and forgets it with its end.
_PRODUCERS = 10_000
_WRAP = 0x7FFFFFFF


class OutOfOrder(ValueError):
    """A batch before this one is missing."""


class Fenced(ValueError):
    """The producer has begun anew since, and this is of its former life."""


@dataclass
class _Producer:
    epoch: int
    sent: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    """First and last sequence number, and offset, of its last batches."""


class Sequences:
    """The producers of one partition."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, _Producer] = OrderedDict()

    def offset_of(self, batch: Batch) -> int | None:
        """Return where `batch` lies already, None where it is the next.

        Raises:
            OutOfOrder, Fenced: it must not be appended.
        """
        producer = self._known.get(batch.producer_id)
        if batch.producer_id == NO_PRODUCER or producer is None:
            return None
        if batch.producer_epoch < producer.epoch:
            raise Fenced(f"producer {batch.producer_id} is at epoch {producer.epoch}, not {batch.producer_epoch}")
        if batch.producer_epoch > producer.epoch:
            if batch.first_sequence != 0:
                raise OutOfOrder(f"expected a new epoch to begin at 0, got {batch.first_sequence}")
            return None
        for first, last, offset in producer.sent:
            if (first, last) == (batch.first_sequence, batch.last_sequence):
                return offset
        if batch.first_sequence != (expected := (producer.sent[-1][1] + 1) & _WRAP):
            raise OutOfOrder(f"expected sequence number {expected} of producer {batch.producer_id}, got {batch.first_sequence}")
        return None

    def missed(self, batch: Batch) -> None:
        """Remember that `batch` could not be kept: of a producer that is new here, nothing after it may come before it."""
        if batch.producer_id != NO_PRODUCER and batch.producer_id not in self._known:
            self._known[batch.producer_id] = _Producer(batch.producer_epoch)
            self._known[batch.producer_id].sent.append((-1, (batch.first_sequence - 1) & _WRAP, -1))

    def note(self, batch: Batch, offset: int) -> None:
        """Remember that `batch` lies at `offset`."""
        if batch.producer_id == NO_PRODUCER:
            return
        producer = self._known.get(batch.producer_id)
        if producer is None or producer.epoch != batch.producer_epoch:
            producer = self._known[batch.producer_id] = _Producer(batch.producer_epoch)
        producer.sent.append((batch.first_sequence, batch.last_sequence, offset))
        self._known.move_to_end(batch.producer_id)
        if len(self._known) > _PRODUCERS:
            self._known.popitem(last=False)
