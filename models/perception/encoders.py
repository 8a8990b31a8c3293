"""The encoders of texts, pictures and sound, on Triton: deadlines, retries, and a breaker before a server that is slow."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeAlias

import numpy as np
import pybreaker
import stamina
import tritonclient.grpc as grpc
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from models.settings import TritonSettings
from streams.features import Vector
from streams.ports import Count, PerceptionLate, PerceptionUnavailable, uncounted

# Texts of one request: more, and a viewer's instruction waits behind a catalogue's titles; fewer, and the way there costs more.
TEXT_BATCH = 32
# The largest batches of the models' config.pbtxt; more in one request is refused.
FRAME_BATCH = 64
PICTURE_BATCH = 16
# What the sound tagger tells apart, in its order.
SOUND_KINDS = ("speech", "music", "noise")

# What a perception can do without: these failing must not keep anybody from asking the others.
SPARED = ("text_reader", "sound_tagger")

# What came of requests: an answer or an error each.
Answers: TypeAlias = "SimpleQueue[tuple[Any, Exception | None]]"

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


@dataclass(frozen=True)
class Sight:
    """What n key frames show, by their middles and by the whole of them.

    `objects` are the ten surest kinds of things of each, `confidences` of the surest of its kind and `counts` how many there
    probably are, float32 (n, 10); `object_embeddings`, float32 (n, 384), are in the space of texts and longer the more is
    there.
    """

    frames: FrameReading
    objects: list[list[str]]
    confidences: NDArray[np.float32]
    counts: NDArray[np.float32]
    object_embeddings: NDArray[np.float32]


@dataclass(frozen=True)
class Writing:
    """What stands in n pictures: their surest lines from top to bottom, "" for none, with confidences, float32 (n, 12)."""

    lines: list[list[str]]
    confidences: NDArray[np.float32]


class TextEncoder(Protocol):
    """Turns texts into unit vectors."""

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n, 384), unit length, one row a text; PerceptionUnavailable is transient."""
        ...


class Encoder(TextEncoder, Protocol):
    """Turns texts and frames into vectors of one space, and reads and listens.

    Each may raise PerceptionUnavailable, which is transient; where `within_s` says how long its caller can wait, that may be a
    PerceptionLate.
    """

    def frames(self, frames: NDArray[np.uint8], *, within_s: float | None = None) -> FrameReading:
        """Return what the middles of frames, RGB uint8 (n, 260, 260, 3), show."""
        ...

    def see(self, frames: NDArray[np.uint8], pictures: NDArray[np.uint8], *, within_s: float | None = None) -> Sight:
        """Return all that frames show, by their middles and by the whole of them, RGB uint8 (n, 640, 640, 3), on grey."""
        ...

    def read(self, pictures: NDArray[np.uint8], *, within_s: float | None = None) -> Writing:
        """Return the text in the whole of frames, RGB uint8 (n, 640, 640, 3), on grey."""
        ...

    def listen(self, sound: NDArray[np.int16], *, within_s: float | None = None) -> NDArray[np.float32]:
        """Return how much of a sound, (m,) at 16,000 samples a second, is speech, music and noise, (3,)."""
        ...

    def unsafe(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return how likely each frame is to be pornographic, float32 (n,), by its middle."""
        ...


class Encoders:
    """`Encoder` on a Triton server. Safe to share between threads.

    It counts, for each model, its requests by what came of them (`encoder/MODEL/ok`, `failed` or `late`), and the
    milliseconds that it was waited for (`encoder_ms/MODEL`).
    """

    def __init__(self, triton: TritonSettings, *, count: Count = uncounted) -> None:
        if not triton.grpc_url:
            raise ValueError("triton.grpc_url is empty: start the local stack with `headwater up`, or name a Triton server")
        self._settings = triton
        self._count = count
        self._client = grpc.InferenceServerClient(triton.grpc_url, channel_args=_CHANNEL)
        self._breaker, *alone = (
            # That a caller could not wait says nothing of the server.
            pybreaker.CircuitBreaker(
                fail_max=triton.breaker_failures, reset_timeout=triton.breaker_reset_s, exclude=[PerceptionLate]
            )
            for _ in range(1 + len(SPARED))
        )
        self._alone = dict(zip(SPARED, alone, strict=True))
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
            parts += self._infer("text_encoder", {"text": batch}, ["embedding"])
        return np.concatenate(parts)

    def frames(self, frames: NDArray[np.uint8], *, within_s: float | None = None) -> FrameReading:
        """Return what the middles of at most 64 frames, RGB uint8 (n, 260, 260, 3), show. Raises PerceptionUnavailable."""
        if len(frames) > FRAME_BATCH:
            raise ValueError(f"expected at most {FRAME_BATCH} frames, got {len(frames)}")
        outputs = ["label", "probability", "embedding"]
        return _reading(*self._infer("frame_encoder", {"frame": frames}, outputs, within_s=within_s))

    def see(self, frames: NDArray[np.uint8], pictures: NDArray[np.uint8], *, within_s: float | None = None) -> Sight:
        """Return all that at most 16 frames show: their middles, and the whole of them (n, 640, 640, 3) on grey.

        Raises:
            PerceptionUnavailable: as `frames`.
        """
        if not len(frames) == len(pictures) <= PICTURE_BATCH:
            raise ValueError(
                f"expected as many middles as pictures, at most {PICTURE_BATCH}, got {len(frames)} and {len(pictures)}"
            )
        outputs = ["label", "probability", "embedding"]
        outputs += ["object", "object_confidence", "object_count", "object_embedding"]
        found = self._infer("ip_agent", {"frame": frames, "picture": pictures}, outputs, within_s=within_s)
        labels, probabilities, embeddings, objects, confidences, counts, object_embeddings = found
        return Sight(_reading(labels, probabilities, embeddings), _words(objects), confidences, counts, object_embeddings)

    def read(self, pictures: NDArray[np.uint8], *, within_s: float | None = None) -> Writing:
        """Return the text in at most 16 pictures, RGB uint8 (n, 640, 640, 3), on grey. Raises PerceptionUnavailable."""
        if len(pictures) > PICTURE_BATCH:
            raise ValueError(f"expected at most {PICTURE_BATCH} pictures, got {len(pictures)}")
        lines, confidences = self._infer("text_reader", {"picture": pictures}, ["line", "line_confidence"], within_s=within_s)
        return Writing(_words(lines), confidences)

    def listen(self, sound: NDArray[np.int16], *, within_s: float | None = None) -> NDArray[np.float32]:
        """Return how much of a sound is speech, music and noise, float32 (3,). Raises PerceptionUnavailable."""
        (shares,) = self._infer("sound_tagger", {"samples": sound}, ["share"], rows=len(SOUND_KINDS), within_s=within_s)
        # A share that is a rounding error above one is no share.
        clipped: NDArray[np.float32] = np.clip(shares, 0.0, 1.0)
        return clipped

    def unsafe(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return how likely each of at most 64 frames is to be pornographic, float32 (n,). Raises PerceptionUnavailable."""
        (scores,) = self._infer("unsafe_scorer", {"frame": frames}, ["unsafe"])
        likely: NDArray[np.float32] = scores[:, 0]
        return likely

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _infer(
        self,
        model: str,
        batch: dict[str, NDArray[Any]],
        outputs: list[str],
        *,
        rows: int | None = None,
        within_s: float | None = None,
    ) -> list[NDArray[Any]]:
        """Return the model's outputs, each of as many rows as its input or of `rows`."""
        rows = len(next(iter(batch.values()))) if rows is None else rows
        given = []
        for name, values in batch.items():
            given.append(grpc.InferInput(name, values.shape, np_to_triton_dtype(values.dtype)))
            given[-1].set_data_from_numpy(values)
        wanted = [grpc.InferRequestedOutput(output) for output in outputs]
        began, outcome = time.perf_counter(), "failed"
        try:
            answer = self._retrying(_is_momentary, self._ask, model, given, wanted, within_s)
            outcome = "ok"
        except PerceptionLate:
            outcome = "late"
            raise
        except pybreaker.CircuitBreakerError as error:
            raise PerceptionUnavailable(f"{model} at {self._settings.grpc_url} keeps failing: none is asked for now") from error
        except InferenceServerException as error:
            raise PerceptionUnavailable(f"{model} at {self._settings.grpc_url}: {error.status()}: {error.message()}") from error
        finally:
            self._count(f"encoder/{model}/{outcome}")
            self._count(f"encoder_ms/{model}", round((time.perf_counter() - began) * 1000))
        arrays = [answer.as_numpy(output) for output in outputs]
        if any(array is None or len(array) != rows for array in arrays):
            raise PerceptionUnavailable(f"{model} at {self._settings.grpc_url}: expected {rows} rows in each of {outputs}")
        return arrays

    def _ask(self, model: str, inputs: list[Any], outputs: list[Any], within_s: float | None) -> Any:
        longest_s = min(self._settings.timeout_s, within_s or self._settings.timeout_s)
        # `calling` lets requests run side by side, where `call` would hold the breaker's lock during each.
        with self._alone.get(model, self._breaker).calling():
            answers: Answers = SimpleQueue()
            calls = [self._send(model, inputs, outputs, answers, longest_s)]
            try:
                answer, error = answers.get(timeout=self._settings.hedge_after_s or None)
            except Empty:
                calls.append(self._send(model, inputs, outputs, answers, longest_s))
                answer, error = answers.get()
                if error is not None:
                    answer, error = answers.get()
            # Of two, the one that nobody waits for any more.
            for call in calls:
                call.cancel()
            if error is not None:
                if within_s is not None and _is_late(error):
                    raise PerceptionLate(f"{model} at {self._settings.grpc_url}: no answer within {longest_s} s") from error
                raise error
            return answer

    def _send(self, model: str, inputs: list[Any], outputs: list[Any], answers: Answers, longest_s: float) -> Any:
        """Ask without waiting; the answer, or after the deadline its error, is put into `answers`. Return the call."""
        return self._client.async_infer(
            model,
            inputs,
            outputs=outputs,
            client_timeout=longest_s,
            callback=lambda result, error: answers.put((result, error)),
        )


def _is_momentary(error: Exception) -> bool:
    """Return whether trying again at once may help: a server that restarts does, one that is too slow would only get slower."""
    return isinstance(error, InferenceServerException) and error.status() == "StatusCode.UNAVAILABLE"


def _is_late(error: Exception) -> bool:
    return isinstance(error, InferenceServerException) and error.status() == "StatusCode.DEADLINE_EXCEEDED"


def _reading(labels: NDArray[Any], probabilities: NDArray[np.float32], embeddings: NDArray[np.float32]) -> FrameReading:
    return FrameReading(_words(labels), probabilities, embeddings)


def _words(names: NDArray[Any]) -> list[list[str]]:
    return [[name.decode() for name in row] for row in names]
