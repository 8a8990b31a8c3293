"""Ports: a free one, or a clear word on who has it."""

import os
import socket

import pytest

from deploy.local.ports import LOOPBACK, PortTaken, choose


def test_port_zero_picks_a_free_one():
    port = choose(0, setting="stack.redis_port")
    with socket.socket() as listener:
        listener.bind((LOOPBACK, port))


def test_a_taken_port_is_refused_with_the_process_that_has_it_and_the_option_to_change():
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        taken = listener.getsockname()[1]
        with pytest.raises(PortTaken) as refused:
            choose(taken, setting="stack.redis_port")
    assert f"port {taken}" in str(refused.value)
    assert f"process {os.getpid()}" in str(refused.value)
    assert "stack.redis_port" in str(refused.value)


def test_no_port_is_given_out_twice():
    ports = [choose(0, setting="stack.redis_port") for _ in range(200)]
    assert len(set(ports)) == len(ports)
