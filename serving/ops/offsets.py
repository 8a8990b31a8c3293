"""Where each topic ends: what a flow is behind, and how fast events come, are differences to it."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Protocol

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from streams.kafka import KafkaSettings, client_config
from streams.topics import BY_NAME

# A rate is of this long a time: shorter, and the batches in which heartbeats tell of positions would be seen as waves.
OVER_MS = 5_000
# Partitions are added by hand, and the beginning moves with the retention: neither is looked at every second.
_RARELY = 30
_TIMEOUT_S = 2.0

Ends = dict[str, dict[int, int]]
"""Offsets by topic and partition."""


class Broker(Protocol):
    """What tells where topics begin and end."""

    def ends(self) -> Ends:
        """Return the offset that comes next in each partition."""
        ...

    def beginnings(self) -> Ends:
        """Return the oldest offset of each partition that is still there."""
        ...


class KafkaBroker:
    """The port `Broker` over Kafka. A broker that is away is a ConnectionError."""

    def __init__(self, kafka: KafkaSettings) -> None:
        # The other clients of this process tell of a broker that is away.
        self._admin = AdminClient(client_config(kafka) | {"log_level": 0})
        self._partitions: list[TopicPartition] = []
        self._asked = 0

    def ends(self) -> Ends:
        try:
            if self._asked % _RARELY == 0:
                topics = self._admin.list_topics(timeout=_TIMEOUT_S).topics
                self._partitions = [TopicPartition(n, p) for n in BY_NAME if n in topics for p in topics[n].partitions]
            found = self._offsets(OffsetSpec.latest())  # type: ignore[no-untyped-call]
        except KafkaException as error:
            # Who it is may have changed with its return.
            self._asked = 0
            raise ConnectionError(str(error)) from error
        self._asked += 1
        return found

    def beginnings(self) -> Ends:
        try:
            return self._offsets(OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        except KafkaException as error:
            raise ConnectionError(str(error)) from error

    def _offsets(self, which: OffsetSpec) -> Ends:
        if not self._partitions:
            return {}
        asked = self._admin.list_offsets(dict.fromkeys(self._partitions, which), request_timeout=_TIMEOUT_S)
        found: Ends = {}
        for partition, answer in asked.items():
            found.setdefault(partition.topic, {})[partition.partition] = answer.result(_TIMEOUT_S).offset
        return found


class Offsets:
    """Ends and beginnings as they were heard last, and the rate at which the ends move."""

    def __init__(self) -> None:
        self._ends: Ends = {}
        self._beginnings: Ends = {}
        self._over: deque[tuple[int, Ends]] = deque(maxlen=60)

    def take(self, ends: Ends, beginnings: Ends, *, now_ms: int) -> None:
        """Take in what the broker says."""
        self._ends, self._beginnings = ends, beginnings
        self._over.append((now_ms, ends))
        while len(self._over) > 2 and self._over[1][0] <= now_ms - OVER_MS:
            self._over.popleft()

    def totals(self) -> dict[str, int]:
        """Return how many events each topic has been given since it was made."""
        return _totals(self._ends)

    def rates(self, *, now_ms: int) -> dict[str, float]:
        """Return the events a second that each topic is given now."""
        # A copy: it is asked for by another thread than the one that takes in.
        over = list(self._over)
        if not over:
            return {}
        since, before = over[0][0], _totals(over[0][1])
        took_s = max(1.0, (now_ms - since) / 1000)
        # A topic that was made anew counts from 0 again.
        return {topic: max(0, total - before.get(topic, total)) / took_s for topic, total in self.totals().items()}

    def behind(self, topics: Iterable[str], positions: Mapping[str, Mapping[str, int]], *, as_of_ms: int | None = None) -> int:
        """Return how many events of `topics` come after `positions`; with no position in a partition, all of it.

        `as_of_ms` is when the positions were right: against the ends of now, who keeps up would be behind by all that came
        since. None is for those who are not heard any more.
        """
        ends = self._ends
        if as_of_ms is not None:
            ends = next((known for at, known in reversed(list(self._over)) if at <= as_of_ms), ends)
        behind = 0
        for topic in topics:
            for partition, end in ends.get(topic, {}).items():
                oldest = self._beginnings.get(topic, {}).get(partition, 0)
                behind += max(0, end - max(oldest, positions.get(topic, {}).get(str(partition), 0)))
        return behind


def _totals(ends: Ends) -> dict[str, int]:
    return {topic: sum(partitions.values()) for topic, partitions in ends.items()}
