"""A server of OpenAI's chat protocol, as vLLM is one: asked with one deadline over an answer, and left alone while it fails.

Bodies come and go as plain JSON: what is vLLM's own in them, such as a pattern to hold a model to, no client library knows.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
import pybreaker

# Of an answer in JSON, in any script, with all that the protocol says beside it.
LONGEST_ANSWER = 1_000_000


class Unanswered(Exception):
    """No usable answer came: the server is away, too slow, or said something else. The message says where and what."""


class UnknownModel(Unanswered):
    """The server has no model of the name that was asked for; it has others."""


@dataclass(frozen=True)
class Token:
    """One token of an answer, and the logarithms of how likely it and others were in its place."""

    text: str
    likely: Mapping[str, float]


@dataclass(frozen=True)
class Answer:
    """An answer whole; its `tokens` where their likelihoods were asked for; and how many tokens question and answer have."""

    text: str
    tokens: tuple[Token, ...]
    asked_tokens: int
    answered_tokens: int


class ChatServer:
    """One server and one model of it. Safe to share between threads."""

    def __init__(
        self, url: str, model: str, *, api_key: str, breaker_failures: int, breaker_reset_s: float, section: str
    ) -> None:
        """After so many failures in a row it is not asked for so long; what is wrong with one request says nothing of others.

        `section` is where all this is set, for messages.
        """
        self.model = model
        self._section = section
        self._where = f"{model} at {url}"
        self._client = client_of(url, api_key)
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=breaker_failures, reset_timeout=breaker_reset_s, exclude=[_is_of_one_request]
        )

    def ask(self, request: dict[str, Any], *, within_s: float) -> Answer:
        """Return the answer to a request, to which the model's name is added where it names none.

        Raises:
            UnknownModel: the server does not know the model.
            Unanswered: none came in time, or it is cut off, or no answer.
        """
        try:
            with self._breaker.calling():
                body = posted(
                    self._client,
                    "/v1/chat/completions",
                    {"model": self.model, **request},
                    deadline=time.monotonic() + within_s,
                    longest=LONGEST_ANSWER,
                    option=f"{self._section}.timeout_s",
                )
            return self._answer(json.loads(body), request)
        except pybreaker.CircuitBreakerError as error:
            raise Unanswered(f"{self._where} keeps failing: it is not asked for now") from error
        except httpx.HTTPStatusError as error:
            # Nothing else is not found: its address answered for other models.
            kind = UnknownModel if error.response.status_code == 404 else Unanswered
            raise kind(f"{self._where}: {error}") from error
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            raise Unanswered(f"{self._where}: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _answer(self, body: Any, request: dict[str, Any]) -> Answer:
        choice, usage = body["choices"][0], body.get("usage") or {}
        if choice["finish_reason"] == "length":
            raise ValueError(f"its answer was longer than {request.get('max_tokens')} tokens ({self._section}.max_tokens)")
        text = choice["message"]["content"]
        if not isinstance(text, str):
            raise ValueError(f"expected a text, got {type(text).__name__}")
        told = (choice.get("logprobs") or {}).get("content") or ()
        tokens = tuple(
            Token(each["token"], {one["token"]: float(one["logprob"]) for one in [*each["top_logprobs"], each]})
            for each in told
        )
        return Answer(text, tokens, int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0)))


def client_of(url: str, api_key: str) -> httpx.Client:
    """Return connections to a server; `api_key` is empty where it wants none."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    # Without a proxy of the environment: what is private would pass it.
    return httpx.Client(base_url=url, headers=headers, trust_env=False)


def posted(client: httpx.Client, path: str, request: dict[str, Any], *, deadline: float, longest: int, option: str) -> bytes:
    """Return the body of an answer of at most `longest` bytes that is whole by the `deadline`, which `option` sets.

    One deadline over all of it: a server that sends a byte now and then resets every other.

    Raises:
        httpx.HTTPError: none came in time, or a refusal.
        ValueError: it is longer.
    """
    body = bytearray()
    with client.stream("POST", path, json=request, timeout=max(0.001, deadline - time.monotonic())) as response:
        response.raise_for_status()
        for part in response.iter_bytes():
            body += part
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout(f"its answer was not complete in time ({option})")
            if len(body) > longest:
                raise ValueError(f"its answer was longer than {longest} bytes")
    return bytes(body)


def _is_of_one_request(error: BaseException) -> bool:
    """Return whether an error says nothing of the server: it refused this request, or answered it oddly."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code < 500 and error.response.status_code != 429
    return not isinstance(error, httpx.TransportError)
