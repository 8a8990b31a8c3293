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

from headwater.commands.dead_letters import dead_letters
from streams.dead_letters import DeadLetters
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
    found = [one for one in DeadLetters(stack.settings.kafka).all() if mark in one.reason]
    result = run(stack.settings.kafka, "replay", "--id", found[0].letter_id)
    assert "0 sent again" in result.output
    assert "1 left out" in result.output


def test_a_replayed_letter_is_marked_and_is_sent_once_more_only_when_asked(stack: Any) -> None:
    mark = uuid.uuid4().hex
    sent = letter(b"{", f"malformed {mark}", offset=int(mark[:6], 16))
    put(stack.settings.kafka, sent)
    assert "1 sent again" in run(stack.settings.kafka, "replay", "--id", sent.letter_id).output
    (kept,) = (one for one in DeadLetters(stack.settings.kafka).all() if mark in one.reason)
    assert kept.replayed_at is not None
    assert kept.payload == sent.payload
    second = run(stack.settings.kafka, "replay", "--id", sent.letter_id)
    assert "0 sent again" in second.output
    assert "was replayed at" in second.output
    assert "1 sent again" in run(stack.settings.kafka, "replay", "--id", sent.letter_id, "--again").output
    listed = run(stack.settings.kafka, "list", "--reason", mark, "--json").output
    assert json.loads(listed)["replayed_at"] is not None
    assert mark not in run(stack.settings.kafka, "list", "--reason", mark, "--open", "--json").output


def test_a_removed_letter_is_no_longer_listed(stack: Any) -> None:
    mark = uuid.uuid4().hex
    gone = letter(b"{", f"malformed {mark}", offset=int(mark[:6], 16))
    put(stack.settings.kafka, gone)
    DeadLetters(stack.settings.kafka).remove([gone.letter_id])
    assert mark not in run(stack.settings.kafka, "list", "--reason", mark).output


def test_a_letter_to_a_topic_that_does_not_exist_is_left_out(stack: Any) -> None:
    mark = uuid.uuid4().hex
    stray = letter(b"{}", f"stray {mark}", offset=int(mark[:6], 16), origin="no-such-topic")
    put(stack.settings.kafka, stray)
    result = run(stack.settings.kafka, "replay", "--id", stray.letter_id)
    assert "0 sent again" in result.output
    assert "there is no topic 'no-such-topic'" in result.output
