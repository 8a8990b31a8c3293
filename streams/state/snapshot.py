"""State objects to bytes and back, for recovery: msgpack, with numpy vectors as their own bytes."""

from typing import Any, TypeVar

import msgspec
import numpy as np

T = TypeVar("T")


def _encode_vector(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        return value.astype("<f4", copy=False).tobytes()
    raise TypeError(f"a snapshot can't hold {type(value).__name__}")


def _decode_vector(kind: Any, value: Any) -> Any:
    # A copy, since the state goes on adding to it and a view of the snapshot's bytes is read-only.
    return np.frombuffer(value, dtype="<f4").astype(np.float32)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_vector)


def dump(state: Any) -> bytes:
    """Return `state`, a msgspec struct, as bytes: several times faster than pickle for a viewer's 200 videos."""
    return _encoder.encode(state)


def load(kind: type[T], snapshot: bytes) -> T:
    """Return the state that `dump` packed."""
    return msgspec.msgpack.decode(snapshot, type=kind, dec_hook=_decode_vector)
