"""`headwater dead-letters`, on a real broker: what was bad is listed with its reason, and can be sent again."""

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from typer.testing import CliRunner

from headwater.commands.dead_letters import dead_letters, read, send_again
from streams.events import DeadLetter
from streams.follower import Followed, Follower
from streams.kafka import EventProducer, KafkaSettings
from streams.topics import DEAD_LETTERS, INTERACTIONS

pytestmark = pytest.mark.stack


def put(kafka: KafkaSettings, *letters: DeadLetter) -> None:
    producer = EventProducer(kafka)
    for letter in letters:
        producer.send(DEAD_LETTERS, letter)
    assert producer.close() == 0


def letter(payload: bytes, reason: str, *, offset: int, origin: str = "interactions") -> DeadLetter:
    now = time.time_ns() // 1_000_000
    return DeadLetter(
        origin=origin, partition=0, offset=offset, reason=reason, payload=payload, failed_at=now, flow="profile", key=b"u"
    )


@contextmanager
def environment(kafka: KafkaSettings) -> Iterator[None]:
    before = os.environ.copy()
    os.environ["HEADWATER_KAFKA__BOOTSTRAP_SERVERS"] = kafka.bootstrap_servers
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run(kafka: KafkaSettings, *arguments: str) -> Any:
    with environment(kafka):
        return CliRunner().invoke(dead_letters, list(arguments), env={"COLUMNS": "250"})


def test_a_letter_is_listed_once_with_its_origin_and_reason(stack: Any) -> None:
    mark = uuid.uuid4().hex
    twice = letter(b"\xff{", f"interactions: malformed {mark}", offset=int(mark[:6], 16))
    put(stack.settings.kafka, twice, twice)
    result = run(stack.settings.kafka, "list", "--reason", mark, "--json")
    assert result.exit_code == 0, result.output
    (line,) = result.output.strip().splitlines()
    assert json.loads(line)["origin"] == "interactions"
    table = run(stack.settings.kafka, "list", "--reason", mark)
    assert twice.letter_id in table.output
    assert f"malformed {mark}" in table.output


def test_a_letter_sent_again_reaches_its_topic_with_its_key_and_bytes(stack: Any) -> None:
    mark = uuid.uuid4().hex
    event = {
        "type": "Interaction", "event_id": mark, "user_id": "u", "video_id": "v", "action": "like",
        "occurred_at": time.time_ns() // 1_000_000,
    }  # fmt: skip
    fixed = letter(json.dumps(event).encode(), "interactions: was not known then", offset=int(mark[:6], 16))
    put(stack.settings.kafka, fixed)
    arrived: list[Followed] = []
    follower = Follower(stack.settings.kafka, [INTERACTIONS], arrived.extend, name="test").start(timeout_s=30.0)
    try:
        result = run(stack.settings.kafka, "replay", "--id", fixed.letter_id)
        assert result.exit_code == 0, result.output
        assert "1 sent again" in result.output
        deadline = time.monotonic() + 20
        while not any(followed.event.event_id == mark for followed in list(arrived)):
            assert time.monotonic() < deadline, "the event did not come back to its topic"
            time.sleep(0.02)
    finally:
        follower.close()
    (back,) = (followed for followed in arrived if followed.event.event_id == mark)
    assert back.key == "u"


def test_replay_wants_to_be_told_which(stack: Any) -> None:
    assert run(stack.settings.kafka, "replay").exit_code == 2
    unknown = run(stack.settings.kafka, "replay", "--id", "interactions/9/9")
    assert unknown.exit_code == 2
    assert "no dead letter interactions/9/9" in unknown.output


def test_a_cut_payload_is_not_sent_again(stack: Any) -> None:
    mark = uuid.uuid4().hex
    put(stack.settings.kafka, letter(b"x" * 600_000, f"too large {mark}", offset=int(mark[:6], 16)))
    found = [one for one in read(stack.settings.kafka) if mark in one.reason]
    result = run(stack.settings.kafka, "replay", "--id", found[0].letter_id)
    assert "0 sent again" in result.output
    assert "1 left out" in result.output


def test_sending_nothing_again_does_nothing(stack: Any) -> None:
    send_again(stack.settings.kafka, [])
