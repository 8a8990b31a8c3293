"""Kafka's requests and answers as bytes: which versions are spoken here, and how each is read and written, by kio's schemas."""

import io
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from types import ModuleType
from typing import Any

from kio.index import load_payload_module, load_request_schema, load_response_schema
from kio.serial import entity_reader, entity_writer
from kio.serial.errors import DecodeError
from kio.static.constants import EntityType

API_VERSIONS = 18
# Of each API: the oldest version that librdkafka asks for, and the newest without fields that need more than is here.
VERSIONS: dict[int, tuple[int, int]] = {
    0: (3, 8),  # Produce
    1: (4, 11),  # Fetch
    2: (1, 5),  # ListOffsets
    3: (1, 8),  # Metadata
    10: (0, 2),  # FindCoordinator
    API_VERSIONS: (0, 3),
    19: (2, 4),  # CreateTopics
    22: (0, 1),  # InitProducerId
}


class Unspoken(Exception):
    """What this broker does not speak: another API, another version of one, or no request at all."""


@dataclass(frozen=True)
class Request:
    """One request: the API and its version, what answers are told apart by, and its fields as kio names them."""

    api: int
    version: int
    correlation_id: int
    body: Any

    @property
    def answer(self) -> "Schema":
        """What its answer is made of."""
        return _schema(self.api, self.version)


class Schema:
    """The classes of an answer in one version, made from fields of which a version may lack some."""

    def __init__(self, api: int, version: int) -> None:
        self._classes: ModuleType = load_payload_module(api, version, EntityType.response)
        self.whole = load_response_schema(api, version)
        self.header: Any = self.whole.__header_schema__
        self._known: dict[str, tuple[type, frozenset[str]]] = {}

    def __call__(self, kind: str, **values: Any) -> Any:
        """Return one `kind` of this version; values that it has no field for are left out."""
        known = self._known.get(kind)
        if known is None:
            made = getattr(self._classes, kind)
            known = self._known[kind] = made, frozenset(field.name for field in fields(made))
        made, names = known
        return made(**{name: value for name, value in values.items() if name in names})


_schema = cache(Schema)
_reader: Callable[[type], Any] = cache(entity_reader)
_writer: Callable[[type], Any] = cache(entity_writer)


def read(frame: bytes) -> Request:
    """Return the request in a frame, without its length. Raises Unspoken."""
    api, version = int.from_bytes(frame[:2], "big"), int.from_bytes(frame[2:4], "big")
    correlation_id = int.from_bytes(frame[4:8], "big", signed=True)
    oldest, newest = VERSIONS.get(api, (1, 0))
    if not oldest <= version <= newest:
        if api == API_VERSIONS:
            # Answered in the oldest version, which tells the client what to ask in.
            return Request(api, 0, correlation_id, None)
        raise Unspoken(f"API {api} in version {version}")
    schema = load_request_schema(api, version)
    try:
        _, used = _reader(schema.__header_schema__)(frame, 0)
        body, _ = _reader(schema)(frame, used)
    except DecodeError as error:
        raise Unspoken(f"API {api} in version {version}: {type(error).__name__} {error}") from error
    return Request(api, version, correlation_id, body)


def write(request: Request, body: Any) -> bytes:
    """Return the answer to `request` as a frame, with its length."""
    out = io.BytesIO()
    out.write(b"\0\0\0\0")
    schema = request.answer
    _writer(schema.header)(out, schema.header(correlation_id=request.correlation_id))
    _writer(schema.whole)(out, body)
    out.seek(0)
    out.write((out.getbuffer().nbytes - 4).to_bytes(4, "big"))
    return out.getvalue()
