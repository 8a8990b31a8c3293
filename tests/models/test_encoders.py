import time

import numpy as np
import pytest

from models.perception.encoders import Encoders
from models.settings import TritonSettings
from streams.ports import PerceptionUnavailable

# Port 9 (discard) is refused at once on loopback.
NOWHERE = TritonSettings(grpc_url="127.0.0.1:9", attempts=2, timeout_s=1, breaker_failures=3, breaker_reset_s=60)


def test_an_address_is_needed() -> None:
    with pytest.raises(ValueError, match=r"triton.grpc_url is empty"):
        Encoders(TritonSettings())


def test_a_server_that_is_away_is_transient_and_says_where() -> None:
    with pytest.raises(PerceptionUnavailable, match=r"text_encoder at 127.0.0.1:9: StatusCode.UNAVAILABLE"):
        Encoders(NOWHERE).texts(["a title"])


def test_after_failures_in_a_row_none_is_asked_for_a_while() -> None:
    encoders = Encoders(NOWHERE)
    for _ in range(3):
        with pytest.raises(PerceptionUnavailable):
            encoders.texts(["a title"])
    started = time.monotonic()
    with pytest.raises(PerceptionUnavailable, match="keeps failing"):
        encoders.frames(np.zeros((1, 260, 260, 3), np.uint8))
    assert time.monotonic() - started < 0.1


def test_no_texts_need_no_server() -> None:
    assert Encoders(NOWHERE).texts([]).shape == (0, 384)


def test_more_than_a_batch_is_refused_before_it_is_sent() -> None:
    frame, picture = np.zeros((1, 260, 260, 3), np.uint8), np.zeros((1, 640, 640, 3), np.uint8)
    with pytest.raises(ValueError, match="at most 64 frames, got 65"):
        Encoders(NOWHERE).frames(np.repeat(frame, 65, axis=0))
    with pytest.raises(ValueError, match="as many middles as pictures, at most 16, got 2 and 1"):
        Encoders(NOWHERE).see(np.repeat(frame, 2, axis=0), picture)
