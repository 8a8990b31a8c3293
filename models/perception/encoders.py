"""The encoders of text and frames, on Triton: deadlines, retries, and a circuit breaker between a slow server and the flows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pybreaker
import stamina
import tritonclient.grpc as grpc
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from models.settings import TritonSettings
from streams.features import Vector
from streams.ports import PerceptionUnavailable

# Texts of one request: more, and a viewer's instruction waits behind a catalogue's titles; fewer, and the way there costs more.
TEXT_BATCH = 32
# The largest batch of the model's config.pbtxt; more in one request is refused.
FRAME_BATCH = 64

_CHANNEL = [
    # gRPC waits up to two minutes before it connects again; a restarted server would seem away long after it is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # The default limit is less than one batch of frames.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


@dataclass(frozen=True)
class FrameReading:
    """What n frames show: their ten likeliest classes with probabilities, float32 (n, 10), and an embedding, float32 (n, 384).

    The embedding is in the space of texts and not of unit length: a frame the model is unsure of is short.
    """

    labels: list[list[str]]
    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32]


class TextEncoder(Protocol):
    """Turns texts into unit vectors."""

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n, 384), unit length, one row a text; PerceptionUnavailable is transient."""
        ...


class Encoder(TextEncoder, Protocol):
    """Turns texts and frames into vectors of one space."""

    def frames(self, frames: NDArray[np.uint8]) -> FrameReading:
        """Return what RGB frames, uint8 (n, 224, 224, 3), show; PerceptionUnavailable is transient."""
        ...


class Encoders:
    """`Encoder` on a Triton server. Safe to share between threads."""

    def __init__(self, triton: TritonSettings) -> None:
        if not triton.grpc_url:
            raise ValueError("triton.grpc_url is empty: start the local stack with `headwater up`, or name a Triton server")
        self._settings = triton
        self._client = grpc.InferenceServerClient(triton.grpc_url, channel_args=_CHANNEL)
        self._breaker = pybreaker.CircuitBreaker(fail_max=triton.breaker_failures, reset_timeout=triton.breaker_reset_s)
        self._retrying = stamina.RetryingCaller(
            attempts=triton.attempts, timeout=triton.timeout_s, wait_initial=0.05, wait_max=1.0
        )

    def texts(self, texts: Sequence[str]) -> Vector:
        """Return float32 (n, 384), unit length, one row a text. Raises PerceptionUnavailable."""
        parts = [np.empty((0, 384), np.float32)]
        for start in range(0, len(texts), TEXT_BATCH):
            batch = np.array(
                [[text.encode("utf-8", "replace")] for text in texts[start : start + TEXT_BATCH]], dtype=np.object_
            )
            (embeddings,) = self._infer("text_encoder", "text", batch, "BYTES", ["embedding"])
            parts.append(embeddings)
        return np.concatenate(parts)

    def frames(self, frames: NDArray[np.uint8]) -> FrameReading:
        """Return what RGB frames, uint8 (n, 224, 224, 3) with n at most 64, show. Raises PerceptionUnavailable."""
        if len(frames) > FRAME_BATCH:
            raise ValueError(f"expected at most {FRAME_BATCH} frames, got {len(frames)}")
        labels, probabilities, embeddings = self._infer(
            "frame_encoder", "frame", frames, "UINT8", ["label", "probability", "embedding"]
        )
        return FrameReading([[label.decode() for label in row] for row in labels], probabilities, embeddings)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _infer(self, model: str, name: str, batch: NDArray[Any], kind: str, outputs: list[str]) -> list[NDArray[Any]]:
        given = grpc.InferInput(name, batch.shape, kind)
        given.set_data_from_numpy(batch)
        wanted = [grpc.InferRequestedOutput(output) for output in outputs]
        try:
            answer = self._retrying(_is_momentary, self._ask, model, [given], wanted)
        except pybreaker.CircuitBreakerError as error:
            raise PerceptionUnavailable(f"{model} at {self._settings.grpc_url} keeps failing: none is asked for now") from error
        except InferenceServerException as error:
            raise PerceptionUnavailable(f"{model} at {self._settings.grpc_url}: {error.status()}: {error.message()}") from error
        arrays = [answer.as_numpy(output) for output in outputs]
        if any(array is None or len(array) != len(batch) for array in arrays):
            raise PerceptionUnavailable(
                f"{model} at {self._settings.grpc_url}: expected {len(batch)} rows in each of {outputs}"
            )
        return arrays

    def _ask(self, model: str, inputs: list[Any], outputs: list[Any]) -> Any:
        # `calling` lets requests run side by side, where `call` would hold the breaker's lock during each.
        with self._breaker.calling():
            return self._client.infer(model, inputs, outputs=outputs, client_timeout=self._settings.timeout_s)


def _is_momentary(error: Exception) -> bool:
    """Return whether trying again at once may help: a server that restarts does, one that is too slow would only get slower."""
    return isinstance(error, InferenceServerException) and error.status() == "StatusCode.UNAVAILABLE"
