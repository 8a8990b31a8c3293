"""Bytes to events and back: the edge where bad input is turned into a reason, and good input into types that can't be wrong."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.events import Event, InteractionEvent, Perception, Plan, UploadEvent, time_of
from streams.state.interests import DIMENSIONS
from streams.topics import PERCEPTIONS, PLANS, TOPICS, Topic

MAX_AGE_MS = 7 * 86_400_000
# Phones' clocks run ahead by seconds, rarely minutes; more than this and the event would outlive its decay.
MAX_AHEAD_MS = 5 * 60_000
# A whole perception is about 3 KB and a slate 40 KB; what is larger is not ours.
MAX_EVENT_BYTES = 1_000_000

VECTOR_BYTES = 2 * DIMENSIONS
# Rounding to float16 moves the length of a vector by a thousandth; what is further off was never of unit length.
_LONGEST_OFF = 0.05

_encoder = msgspec.json.Encoder()


class BadEvent(ValueError):
    """Input that is no event of its topic. The message says what was expected and what came."""


@cache
def _decoder(topic: Topic) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(topic.carries)


def encode(event: Event) -> bytes:
    """Return `event` as JSON."""
    return _encoder.encode(event)


def decode(topic: Topic, payload: bytes | None) -> Any:
    """Return the event of `topic` in `payload`.

    Raises:
        BadEvent: not JSON, another type of event, a field missing or out of bounds, an embedding that is no unit vector.
    """
    if payload is None:
        raise BadEvent(f"{topic.name}: expected an event, got a tombstone")
    if len(payload) > MAX_EVENT_BYTES:
        raise BadEvent(f"{topic.name}: event of {len(payload)} bytes; at most {MAX_EVENT_BYTES} are allowed")
    try:
        event = _decoder(topic).decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadEvent(f"{topic.name}: {error}") from error
    embeddings = _EMBEDDINGS.get(topic.name)
    if embeddings is not None:
        for packed in embeddings(event):
            _check_vector(topic, packed)
    return event


def check_key(topic: Topic, event: Event, key: bytes | None) -> None:
    """Raise BadEvent unless `event` came under its own key.

    Under another one it would lie in another partition, where it overtakes what the same viewer or video did before it, and
    neither a newer event nor a tombstone would ever take its place.
    """
    expected = getattr(event, topic.key)
    if key is None or key != expected.encode():
        came = "none" if key is None else repr(key[:200].decode("utf-8", "replace"))
        raise BadEvent(f"{topic.name}: expected the key to be the event's {topic.key}, {expected!r}, got {came}")


def _of_perception(event: Perception) -> Iterable[bytes]:
    return (event.embedding,)


def _of_plan(event: Plan) -> Iterable[bytes]:
    return (steer.embedding for steer in event.steering)


_EMBEDDINGS: dict[str, Callable[[Any], Iterable[bytes]]] = {PERCEPTIONS.name: _of_perception, PLANS.name: _of_plan}


def _check_vector(topic: Topic, packed: bytes) -> None:
    if len(packed) != VECTOR_BYTES:
        raise BadEvent(f"{topic.name}: expected an embedding of {VECTOR_BYTES} bytes (float16), got {len(packed)}")
    vector = unpack_vector(packed)
    with np.errstate(all="ignore"):
        length = float(np.sqrt(vector @ vector))
    # Also where it is not a number: one such vector makes every score that it enters none.
    if not abs(length - 1.0) <= _LONGEST_OFF:
        raise BadEvent(f"{topic.name}: expected an embedding of length 1, got one of length {length:.3g}")


def check_time(event: UploadEvent | InteractionEvent, *, received_at: int) -> None:
    """Raise BadEvent unless `event` happened within 7 days before and 5 minutes after `received_at` (Unix ms).

    Compared with the broker's time, not now, so a replay after an outage judges as the first run did.
    """
    at = time_of(event)
    name = type(event).__name__
    if at < received_at - MAX_AGE_MS:
        raise BadEvent(f"{name} {event.event_id}: time {at} is more than 7 days before it was received ({received_at})")
    if at > received_at + MAX_AHEAD_MS:
        raise BadEvent(f"{name} {event.event_id}: time {at} is more than 5 minutes after it was received ({received_at})")


def pack_vector(vector: NDArray[np.floating[Any]]) -> bytes:
    """Return a vector, shape (d,), as little-endian float16: half the bytes, and 1e-3 of cosine error at most."""
    return vector.astype("<f2").tobytes()


def unpack_vector(packed: bytes) -> NDArray[np.float32]:
    """Return the float32 vector, shape (d,), of `pack_vector`'s bytes."""
    return np.frombuffer(packed, dtype="<f2").astype(np.float32)


def json_schemas() -> dict[str, Any]:
    """Return one JSON Schema document with a definition for each event, for clients in other languages."""
    types = [topic.carries for topic in TOPICS]
    schemas, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    topics = {topic.name: schema for topic, schema in zip(TOPICS, schemas, strict=True)}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "topics": topics, "$defs": definitions}
