"""What is done again and again goes on after a failure, and ends with its block."""

import logging
import threading

import pytest

from streams.every import every

DEADLINE_S = 10.0


def test_a_call_that_fails_is_logged_and_followed_by_the_next(caplog: pytest.LogCaptureFixture):
    calls: list[int] = []
    enough = threading.Event()

    def fail() -> None:
        calls.append(len(calls))
        if len(calls) == 3:
            enough.set()
        raise RuntimeError("no numbers this time")

    with caplog.at_level(logging.ERROR), every(0.001, fail, name="numbers"):
        assert enough.wait(DEADLINE_S)
    assert "numbers failed, and goes on" in caplog.text
    assert "no numbers this time" in caplog.text


def test_nothing_is_called_after_the_block(caplog: pytest.LogCaptureFixture):
    called = threading.Event()
    with every(0.001, called.set, name="calls"):
        assert called.wait(DEADLINE_S)
        (thread,) = (each for each in threading.enumerate() if each.name == "calls")
    assert not thread.is_alive()
