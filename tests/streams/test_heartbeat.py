"""What a process says of itself."""

import threading

import pytest

from streams.events import Supervised
from streams.heartbeat import Pulse, beating
from streams.kafka import KafkaSettings
from streams.lossy import LossyProducer
from streams.topics import HEARTBEATS


def test_a_heartbeat_tells_of_what_was_taken_since_the_last_and_of_where_it_is() -> None:
    pulse = Pulse("flow-test", clock=lambda: 1_000)
    pulse.took("interactions", 0, events=3, next_offset=10)
    pulse.took("interactions", 1, events=2, next_offset=7)
    pulse.count("dead_letters")
    first, second = pulse.beat(), pulse.beat()
    assert (first.process, first.at, first.events) == ("flow-test", 1_000, {"interactions": 5})
    assert first.positions == second.positions == {"interactions": {"0": 10, "1": 7}}
    assert second.events == {}
    assert first.counters == second.counters == {"dead_letters": 1}
    assert first.rss_bytes > 1_000_000


def test_freshness_is_of_the_events_since_the_last_heartbeat() -> None:
    pulse = Pulse("flow-test")
    pulse.readable([10] * 98 + [500, 700])
    p50, p99 = pulse.beat().freshness_ms or (0, 0)
    assert p50 == 10
    assert 500 <= p99 <= 700
    assert pulse.beat().freshness_ms is None


def test_a_broker_whose_clock_is_ahead_makes_no_negative_freshness() -> None:
    pulse = Pulse("flow-test")
    pulse.readable([-3, -2])
    assert pulse.beat().freshness_ms == (0.0, 0.0)


def test_counting_from_several_threads_loses_nothing() -> None:
    pulse = Pulse("flow-test")
    told: list[int] = []

    def work(partition: int) -> None:
        for number in range(2_000):
            pulse.took("interactions", partition, events=1, next_offset=number + 1)
            pulse.readable([number])
            if number % 100 == 0:
                told.append(sum(pulse.beat().events.values()))

    threads = [threading.Thread(target=work, args=(partition,)) for partition in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = pulse.beat()
    assert sum(told) + sum(last.events.values()) == 8_000
    assert last.positions == {"interactions": {str(partition): 2_000 for partition in range(4)}}


def test_a_heartbeat_to_a_broker_that_is_away_holds_nobody_up() -> None:
    producer = LossyProducer(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    beat = Pulse("flow-test", children=lambda: (Supervised(name="redis"),)).beat()
    for _ in range(20_000):
        # More than its queue holds: what finds no room is dropped.
        producer.send(HEARTBEATS, beat)
    producer.close()
    assert beat.children == (Supervised(name="redis"),)


def test_a_beat_that_fails_is_not_the_last() -> None:
    beats = threading.Semaphore(0)

    class Refusing(LossyProducer):
        def __init__(self) -> None:
            self.left = 3

        def send(self, topic, event) -> None:
            beats.release()
            self.left -= 1
            if self.left > 0:
                raise RuntimeError("it could not be measured")

    with beating(Pulse("flow-test"), Refusing(), every_s=0.01):
        for _ in range(4):
            assert beats.acquire(timeout=10.0)


@pytest.mark.stack
def test_heartbeats_reach_the_topic_once_a_second(stack) -> None:
    from streams.follower import Followed, Follower

    heard: list[Followed] = []
    enough = threading.Event()

    def take(batch: list[Followed]) -> None:
        heard.extend(followed for followed in batch if followed.event.process == "flow-test")
        if len(heard) >= 3:
            enough.set()

    producer = LossyProducer(stack.settings.kafka)
    follower = Follower(stack.settings.kafka, [HEARTBEATS], take, name="test").start(timeout_s=30.0)
    try:
        with beating(Pulse("flow-test"), producer, every_s=0.05):
            assert enough.wait(30.0)
    finally:
        follower.close()
        producer.close()
    assert [followed.event.at for followed in heard] == sorted(followed.event.at for followed in heard)
