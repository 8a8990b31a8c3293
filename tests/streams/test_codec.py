"""The edge: what is taken in, what is turned away and with which words."""

import contextlib
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec import (
    MAX_AGE_MS,
    MAX_AHEAD_MS,
    MAX_EVENT_BYTES,
    BadEvent,
    check_time,
    decode,
    encode,
    json_schemas,
    pack_vector,
    unpack_vector,
)
from streams.events import ACTIONS, Interaction, Upload
from streams.topics import INTERACTIONS, TOPICS, UPLOADS
from tests.streams.world import NOW, interaction, upload

ids = st.text(min_size=1, max_size=128)
times = st.integers(min_value=0, max_value=253_402_300_799_999)


@given(ids, ids, ids, st.sampled_from(ACTIONS), times, st.none() | st.integers(0, 86_400_000), st.none() | ids)
def test_an_interaction_survives_the_wire(event_id, user_id, video_id, action, at, watch_ms, request_id) -> None:
    event = Interaction(
        event_id=event_id,
        user_id=user_id,
        video_id=video_id,
        action=action,
        occurred_at=at,
        watch_ms=watch_ms,
        request_id=request_id,
    )
    assert decode(INTERACTIONS, encode(event)) == event


@given(ids, st.text(max_size=500), st.lists(st.text(min_size=1, max_size=64), max_size=32), times)
def test_an_upload_survives_the_wire(video_id, title, tags, at) -> None:
    event = upload(video_id=video_id, title=title, tags=tuple(tags), uploaded_at=at)
    assert decode(UPLOADS, encode(event)) == event


@given(st.binary(max_size=300))
def test_any_bytes_are_an_event_or_a_reason(payload: bytes) -> None:
    for topic in TOPICS:
        with contextlib.suppress(BadEvent):
            assert type(decode(topic, payload)).__name__ in str(topic.carries)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_any_json_is_an_event_or_a_reason(value: Any) -> None:
    with pytest.raises(BadEvent):
        decode(INTERACTIONS, json.dumps(value).encode())


def test_an_unknown_field_is_ignored_and_a_missing_optional_one_defaulted() -> None:
    wire = b'{"type":"Upload","event_id":"e","video_id":"v","author_id":"a","title":"t","uploaded_at":1,"from_2030":true}'
    assert decode(UPLOADS, wire) == Upload(event_id="e", video_id="v", author_id="a", title="t", uploaded_at=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"action": "stare"}, "stare"),
        ({"user_id": ""}, "length >= 1"),
        ({"user_id": "x" * 129}, "length <= 128"),
        ({"watch_ms": -1}, ">= 0"),
        ({"position": 10_001}, "<= 10000"),
        ({"video_id": None}, "$.video_id"),
        ({"type": "Upload"}, "Upload"),
    ],
)
def test_a_field_out_of_bounds_is_named_with_its_bound(change: dict[str, Any], words: str) -> None:
    wire = msgspec.json.decode(encode(interaction())) | change
    with pytest.raises(BadEvent, match=words.replace("$", r"\$").replace(".", r"\.")):
        decode(INTERACTIONS, json.dumps(wire).encode())


def test_a_missing_field_is_named() -> None:
    with pytest.raises(BadEvent, match="missing required field `user_id`"):
        decode(INTERACTIONS, b'{"type":"Interaction","event_id":"e"}')


def test_an_oversized_event_and_a_tombstone_are_no_events() -> None:
    with pytest.raises(BadEvent, match="at most"):
        decode(UPLOADS, b" " * (MAX_EVENT_BYTES + 1))
    with pytest.raises(BadEvent, match="tombstone"):
        decode(UPLOADS, None)


def test_deep_nesting_is_refused_not_fatal() -> None:
    with pytest.raises(BadEvent):
        decode(UPLOADS, b"[" * 100_000)


@pytest.mark.parametrize(("offset", "word"), [(-MAX_AGE_MS - 1, "7 days"), (MAX_AHEAD_MS + 1, "5 minutes")])
def test_ancient_and_future_times_are_refused(offset: int, word: str) -> None:
    with pytest.raises(BadEvent, match=word):
        check_time(interaction(at=NOW + offset), received_at=NOW)


@pytest.mark.parametrize("offset", [-MAX_AGE_MS, 0, MAX_AHEAD_MS])
def test_times_at_the_bounds_are_taken(offset: int) -> None:
    check_time(interaction(at=NOW + offset), received_at=NOW)


def test_a_packed_vector_comes_back_within_a_thousandth() -> None:
    vector = np.random.default_rng(0).normal(size=384).astype(np.float32)
    vector /= np.linalg.norm(vector)
    assert float(unpack_vector(pack_vector(vector)) @ vector) == pytest.approx(1.0, abs=1e-3)


def test_the_json_schema_defines_every_event_of_every_topic() -> None:
    schema = json_schemas()
    assert set(schema["topics"]) == {topic.name for topic in TOPICS}
    assert {"Upload", "Takedown", "Interaction", "Instruction", "Erasure", "Perception", "Slate"} <= set(schema["$defs"])
    assert schema["$defs"]["Interaction"]["properties"]["watch_ms"]["anyOf"][0]["maximum"] == 86_400_000
