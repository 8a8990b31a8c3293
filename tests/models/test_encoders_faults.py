"""The encoders' client against a server that is slow, broken or away, by Triton's own protocol."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from models.perception.encoders import Encoders
from models.settings import TritonSettings
from streams.ports import PerceptionLate, PerceptionUnavailable
from tests.faults.world import until


class Server(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Embeds every text as ones; `faults` are what happens to the next requests: seconds to wait, or a status to fail with."""

    def __init__(self) -> None:
        self.faults: list[float | grpc.StatusCode] = []
        self.requests = 0
        self._counting = threading.Lock()
        self._grpc = grpc.server(futures.ThreadPoolExecutor(8))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._grpc)
        self.address = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._grpc.start()

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        with self._counting:
            self.requests += 1
            fault = self.faults.pop(0) if self.faults else 0.0
        if isinstance(fault, grpc.StatusCode):
            context.abort(fault, "told to")
        else:
            time.sleep(fault)
        rows = request.inputs[0].shape[0]
        answer = service_pb2.ModelInferResponse(model_name=request.model_name)
        answer.outputs.add(name="embedding", datatype="FP32", shape=[rows, 384])
        answer.raw_output_contents.append(np.ones((rows, 384), np.float32).tobytes())
        return answer

    def stop(self) -> None:
        self._grpc.stop(0).wait()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def encoders(server: Server, **settings: Any) -> Encoders:
    return Encoders(TritonSettings(grpc_url=server.address, **settings))


def test_a_server_that_restarts_is_asked_again(server: Server) -> None:
    server.faults = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE]
    assert encoders(server, attempts=3).texts(["a title"]).shape == (1, 384)
    assert server.requests == 3


def test_a_request_past_its_deadline_is_given_up_and_not_repeated(server: Server) -> None:
    server.faults = [1.0]
    began = time.monotonic()
    with pytest.raises(PerceptionUnavailable, match="DEADLINE_EXCEEDED"):
        encoders(server, timeout_s=0.2).texts(["a title"])
    assert time.monotonic() - began < 0.9
    assert server.requests == 1


def test_a_caller_that_cannot_wait_is_told_so_and_the_server_is_not_blamed(server: Server) -> None:
    counters: Counter[str] = Counter()

    def count(name: str, by: int = 1) -> None:
        counters[name] += by

    asked = Encoders(TritonSettings(grpc_url=server.address, breaker_failures=2, timeout_s=5), count=count)
    server.faults = [1.0, 1.0, 1.0]
    for _ in range(3):
        with pytest.raises(PerceptionLate, match=r"text_reader at .*: no answer within 0.1 s"):
            asked.read(np.zeros((1, 640, 640, 3), np.uint8), within_s=0.1)
    assert asked.texts(["a title"]).shape == (1, 384)
    assert (counters["encoder/text_reader/late"], counters["encoder/text_encoder/ok"]) == (3, 1)
    assert counters["encoder_ms/text_reader"] >= 250


def test_a_model_that_can_be_done_without_keeps_nobody_from_asking_the_others(server: Server) -> None:
    server.faults = [grpc.StatusCode.UNAVAILABLE] * 12
    asked = encoders(server, attempts=3, breaker_failures=5, breaker_reset_s=60)
    for _ in range(2):
        with pytest.raises(PerceptionUnavailable, match="text_reader"):
            asked.read(np.zeros((1, 640, 640, 3), np.uint8), within_s=5)
        with pytest.raises(PerceptionUnavailable, match="sound_tagger"):
            asked.listen(np.zeros(16_000, np.int16), within_s=5)
    server.faults = []
    assert asked.texts(["a title"]).shape == (1, 384)


def test_a_deadline_longer_than_the_servers_is_the_servers(server: Server) -> None:
    server.faults = [1.0]
    with pytest.raises(PerceptionLate, match=r"no answer within 0.2 s"):
        encoders(server, timeout_s=0.2).read(np.zeros((1, 640, 640, 3), np.uint8), within_s=30)


def test_an_error_of_the_model_is_not_repeated(server: Server) -> None:
    server.faults = [grpc.StatusCode.INVALID_ARGUMENT]
    with pytest.raises(PerceptionUnavailable, match="INVALID_ARGUMENT: told to"):
        encoders(server).texts(["a title"])
    assert server.requests == 1


def test_by_default_a_slow_request_is_waited_for(server: Server) -> None:
    server.faults = [0.4]
    encoders(server).texts(["a title"])
    assert server.requests == 1


def test_a_hedged_request_takes_the_first_answer(server: Server) -> None:
    server.faults = [2.0]
    began = time.monotonic()
    assert encoders(server, hedge_after_s=0.1).texts(["a title"]).shape == (1, 384)
    assert time.monotonic() - began < 1.5
    assert server.requests == 2


def test_a_hedge_that_fails_leaves_the_first_to_answer(server: Server) -> None:
    server.faults = [0.5, grpc.StatusCode.INTERNAL]
    assert encoders(server, hedge_after_s=0.1).texts(["a title"]).shape == (1, 384)
    assert server.requests == 2


def test_after_a_while_a_server_that_came_back_is_asked_again(server: Server) -> None:
    server.faults = [grpc.StatusCode.INTERNAL] * 2
    asked = encoders(server, breaker_failures=2, breaker_reset_s=0.3)
    for _ in range(3):
        with pytest.raises(PerceptionUnavailable):
            asked.texts(["a title"])
    assert server.requests == 2
    until(lambda: answers(asked), within_s=5, what="the server is asked again")


def answers(asked: Encoders) -> bool:
    try:
        return asked.texts(["a title"]).shape == (1, 384)
    except PerceptionUnavailable:
        return False
