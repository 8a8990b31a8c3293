"""Adapters of a language model on vLLM: loaded and unloaded by name while it serves, from folders that it can read."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from models.chat import client_of

# An adapter is read from disk while requests go on: shorter gives up on a busy machine, longer holds up the next release.
LOAD_WITHIN_S = 60.0
# Nothing waits for it but a plan that is done: what is not unloaded in time stays, and takes memory.
UNLOAD_WITHIN_S = 2.0


class Refused(Exception):
    """The server does not take this adapter. The message says what it said."""


class Adapters:
    """The adapters of one server. Safe to share between threads.

    vLLM needs VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora.
    """

    def __init__(self, url: str, *, api_key: str) -> None:
        self._url = url
        self._client = client_of(url, api_key)

    def load(self, name: str, folder: Path, *, within_s: float = LOAD_WITHIN_S) -> None:
        """Let the server answer to `name` by the adapter in `folder`; one that it has already of this name stays.

        Raises:
            Refused: it does not take it, or knows of no adapters.
            ConnectionError: it is away, or did not answer in time.
        """
        answer = self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)}, within_s)
        # Another process that shares the server may have been first; a name is made of what is in the folder.
        if answer.is_error and name not in self.names(within_s=within_s):
            raise Refused(f"{folder}: {self._url} answered {answer.status_code}: {_message(answer)}")

    def unload(self, name: str) -> None:
        """Let go of an adapter; one that the server does not have is gone. Raises ConnectionError."""
        self._post("/v1/unload_lora_adapter", {"lora_name": name}, UNLOAD_WITHIN_S)

    def names(self, *, within_s: float) -> set[str]:
        """Return what the server answers to, its own model's name among it. Raises ConnectionError."""
        try:
            answer = self._client.get("/v1/models", timeout=within_s).raise_for_status()
            return {model["id"] for model in answer.json()["data"]}
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise ConnectionError(f"{self._url}/v1/models: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _post(self, path: str, body: dict[str, Any], within_s: float) -> httpx.Response:
        try:
            return self._client.post(path, json=body, timeout=within_s)
        except httpx.HTTPError as error:
            raise ConnectionError(f"{self._url}{path}: {type(error).__name__}: {error}") from error


def _message(answer: httpx.Response) -> str:
    """Return what the server said was wrong, in OpenAI's form or any other."""
    try:
        return str(json.loads(answer.text)["error"]["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]
