"""The embedded broker as Kafka's own clients find it."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]

from deploy.local import kafka
from deploy.local.ports import choose
from deploy.local.process import RunningServer

pytestmark = pytest.mark.stack

DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("broker")
    port = choose(0, setting="test")
    running = RunningServer(kafka.server(port, folder), log=folder / "broker.log")
    running.wait_ready(timeout_s=60.0)
    yield f"127.0.0.1:{port}"
    running.stop(timeout_s=5.0)


@pytest.fixture
def topic(address: str, request: pytest.FixtureRequest) -> str:
    name = request.node.name.replace("[", "-").replace("]", "")
    create(address, name, config={"message.timestamp.type": "LogAppendTime"})
    return str(name)


def create(address: str, name: str, *, partitions: int = 1, config: dict[str, str] | None = None) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    for made in admin.create_topics([NewTopic(name, partitions, 1, config=config or {})]).values():
        made.result(DEADLINE_S)


def produce(address: str, topic: str, values: Sequence[bytes], **settings: Any) -> list[KafkaError | None]:
    """Send `values` and return each one's error, None where the broker has it."""
    answers: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 1} | settings)
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: answers.append(error))
        producer.poll(0)
    assert producer.flush(DEADLINE_S) == 0
    return answers


def consumer(address: str, topic: str, *, at: int = OFFSET_BEGINNING, **settings: Any) -> Consumer:
    own = {"bootstrap.servers": address, "group.id": "test", "enable.auto.commit": False}
    made = Consumer(own | settings)
    made.assign([TopicPartition(topic, 0, at)])
    return made


def read(reader: Consumer, count: int) -> list[Message]:
    messages: list[Message] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(messages) < count:
        assert time.monotonic() < deadline, f"{len(messages)} of {count} came"
        messages += reader.consume(count - len(messages), 0.2)
    return messages


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_what_is_produced_is_consumed_in_order_whatever_packs_it(address: str, topic: str, codec: str):
    values = [b"%d" % number for number in range(5_000)]
    before = int(time.time() * 1000)
    assert produce(address, topic, values, **{"compression.type": codec}) == [None] * 5_000
    messages = read(consumer(address, topic), 5_000)
    assert [message.value() for message in messages] == values
    assert [message.offset() for message in messages] == list(range(5_000))
    # By the broker's clock, as the topic's settings say.
    kind, at = messages[-1].timestamp()
    assert kind == 2
    assert before <= at <= time.time() * 1000


def test_keys_headers_and_tombstones_come_as_they_went(address: str, topic: str):
    producer = Producer({"bootstrap.servers": address})
    producer.produce(topic, None, key=b"k", headers=[("traceparent", b"00-1-2-01")])
    producer.flush(DEADLINE_S)
    (message,) = read(consumer(address, topic), 1)
    assert (message.key(), message.value(), message.headers()) == (b"k", None, [("traceparent", b"00-1-2-01")])


def test_a_long_poll_ends_at_the_next_event(address: str, topic: str):
    # Were it not woken, the consumer would have nothing before the test's deadline.
    reader = consumer(address, topic, **{"fetch.wait.max.ms": 200_000, "socket.timeout.ms": 250_000})
    assert reader.poll(0.5) is None
    for number in range(3):
        produce(address, topic, [b"%d" % number])
        assert [message.value() for message in read(reader, 1)] == [b"%d" % number]


def test_a_consumer_that_wants_many_gets_them_together(address: str, topic: str):
    # By its own clock it would get the first after 200 s: only what it wants at least can end its fetch.
    reader = consumer(address, topic, **{"fetch.min.bytes": 3_000, "fetch.wait.max.ms": 200_000, "socket.timeout.ms": 250_000})
    assert reader.poll(0.5) is None
    for number in range(2):
        produce(address, topic, [b"%d" % number * 1_000], **{"compression.type": "none"})
    assert reader.poll(0.5) is None
    produce(address, topic, [b"2" * 1_500], **{"compression.type": "none"})
    assert [message.value()[:1] for message in read(reader, 3)] == [b"0", b"1", b"2"]


def test_offsets_are_told_by_end_and_by_time(address: str, topic: str):
    produce(address, topic, [b"a", b"b"])
    (first, _) = read(consumer(address, topic), 2)
    produce(address, topic, [b"c"])
    admin, partition = AdminClient({"bootstrap.servers": address}), TopicPartition(topic, 0)

    def offset(spec: OffsetSpec) -> int:
        return int(admin.list_offsets({partition: spec})[partition].result(DEADLINE_S).offset)

    assert (offset(OffsetSpec.earliest()), offset(OffsetSpec.latest())) == (0, 3)
    assert offset(OffsetSpec.for_timestamp(first.timestamp()[1])) == 0
    assert offset(OffsetSpec.for_timestamp(2**41)) == -1
    assert [message.value() for message in read(consumer(address, topic, at=2), 1)] == [b"c"]


def test_an_offset_that_is_not_there_is_said_to_be_so(address: str, topic: str):
    reader = consumer(address, topic, at=7, **{"auto.offset.reset": "error"})
    message = reader.poll(DEADLINE_S)
    assert message is not None
    assert message.error().code() == KafkaError._AUTO_OFFSET_RESET


def test_a_topic_is_not_made_by_asking_for_it(address: str):
    assert produce(address, "misspelt", [b"x"], **{"message.timeout.ms": 2_000})[0] is not None
    assert "misspelt" not in AdminClient({"bootstrap.servers": address}).list_topics(timeout=DEADLINE_S).topics


def test_a_topic_exists_once_and_has_a_sane_number_of_partitions(address: str, topic: str):
    admin = AdminClient({"bootstrap.servers": address})
    answers = admin.create_topics([NewTopic(topic, 1, 1), NewTopic("too-wide", 100_000, 1)])
    with pytest.raises(Exception, match="TOPIC_ALREADY_EXISTS"):
        answers[topic].result(DEADLINE_S)
    with pytest.raises(Exception, match="INVALID_PARTITIONS"):
        answers["too-wide"].result(DEADLINE_S)


def test_a_batch_past_the_topics_bound_is_refused_and_the_next_is_taken(address: str):
    create(address, "narrow", config={"max.message.bytes": "1000"})
    (refused,) = produce(address, "narrow", [b"x" * 5_000])
    assert refused is not None
    assert refused.code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert produce(address, "narrow", [b"x"]) == [None]


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x0a\0\x63\0\0\0\0\0\x01\0\0",
        b"\0\0\0\x0a\0\x03\0\x08\0\0\0\x01\0\x09",
    ],
    ids=["http", "negative", "unspoken", "torn"],
)
def test_a_client_that_speaks_nonsense_is_hung_up_on_and_no_other(address: str, said: bytes):
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        client.sendall(said)
        assert client.recv(100) == b""
    assert len(AdminClient({"bootstrap.servers": address}).list_topics(timeout=DEADLINE_S).brokers) == 1


def test_a_client_of_a_later_time_is_told_what_is_spoken(address: str):
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        # ApiVersions, version 99, correlation id 5.
        client.sendall(b"\0\0\0\x0a\0\x12\0\x63\0\0\0\x05\xff\xff")
        answer = client.recv(1_000)
    assert answer[4:8] == b"\0\0\0\x05"
    assert int.from_bytes(answer[8:10], "big") == 35


def test_from_the_end_only_what_comes_is_read(address: str, topic: str):
    produce(address, topic, [b"before"])
    reader = consumer(address, topic, at=OFFSET_END, **{"enable.partition.eof": True})
    # The end is known by now, as it was reached.
    end = reader.poll(DEADLINE_S)
    assert end is not None
    assert end.error().code() == KafkaError._PARTITION_EOF
    produce(address, topic, [b"after"])
    assert [message.value() for message in read(reader, 1)] == [b"after"]


def test_what_a_topic_should_be_is_checked(address: str, topic: str):
    admin = AdminClient({"bootstrap.servers": address})
    answers = admin.create_topics([NewTopic("for-ever", 1, 1, config={"retention.ms": "for ever"})])
    with pytest.raises(Exception, match=r"retention\.ms: expected a whole number, got 'for ever'"):
        answers["for-ever"].result(DEADLINE_S)


def test_told_to_stop_it_ends_though_a_long_poll_waits(tmp_path: Path):
    port = choose(0, setting="test")
    running = RunningServer(kafka.server(port, tmp_path / "files"), log=tmp_path / "broker.log")
    running.wait_ready(timeout_s=60.0)
    create(f"127.0.0.1:{port}", "quiet")
    reader = consumer(f"127.0.0.1:{port}", "quiet", **{"fetch.wait.max.ms": 200_000, "socket.timeout.ms": 250_000})
    assert reader.poll(1.0) is None
    # Within the deadline, not by force: then its status would be that of a kill.
    running.stop(timeout_s=DEADLINE_S)
    assert running.ended() == 0
    assert "Traceback" not in (tmp_path / "broker.log").read_text()
    reader.close()


def test_its_help_says_what_it_is():
    said = subprocess.run([sys.executable, "-m", "deploy.local.broker", "--help"], capture_output=True, text=True, check=True)
    assert "Kafka" in said.stdout
