"""Errors as clients see them: one shape for all, that names the field and the bound it broke."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from msgspec.inspect import Field, LiteralType, StructType, type_info
from starlette.exceptions import HTTPException

from streams.events import Interaction, Upload

_PATH = re.compile(r"^(?P<said>.*) - at `\$(?:\[(?P<index>\d+)\])?\.?(?P<field>.*)`$", re.DOTALL)
_EXPECTED = re.compile(r"(?:expected|allowed:) (?P<bound>.+?)(?:, got .*)?$", re.DOTALL | re.IGNORECASE)


def _fields(kind: type) -> tuple[Field, ...]:
    described = type_info(kind)
    assert isinstance(described, StructType)
    return described.fields


# What the fields may be that are one of a few words: msgspec names only the word that came.
_CHOICES = {
    field.name: tuple(map(str, field.type.values))
    for kind in (Interaction, Upload)
    for field in _fields(kind)
    if isinstance(field.type, LiteralType)
}
_TYPES = {401: "unauthorized", 403: "forbidden", 404: "not-found", 405: "method-not-allowed"}


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong; `index` is the place in a batch, `event_ids` were given out and are safe to send again."""

    type: str
    message: str
    field: str | None = None
    bound: str | None = None
    index: int | None = None
    event_ids: list[str] | None = None


class ErrorAnswer(msgspec.Struct, frozen=True):
    error: ErrorBody


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, body: ErrorBody, headers: dict[str, str] | None = None) -> None:
        super().__init__(body.message)
        self.status = status
        self.body = body
        self.headers = headers

    def response(self) -> Response:
        """Return the HTTP response."""
        content = msgspec.json.encode(ErrorAnswer(self.body))
        return Response(content, self.status, self.headers, media_type="application/json")


def invalid(message: str, *, field: str | None = None, index: int | None = None) -> ApiError:
    """Return the error for input that breaks a bound; the bound is what `message` says was expected or is allowed."""
    said = _EXPECTED.search(message)
    return ApiError(422, ErrorBody("invalid", message, field, said["bound"] if said else None, index))


def undecodable(error: Exception) -> ApiError:
    """Return the error for a body that msgspec refused: 422 with field and index, or 400 where it is no JSON at all."""
    if not isinstance(error, msgspec.ValidationError):
        return ApiError(400, ErrorBody("not-json", f"the body is not JSON: {error}"))
    path = _PATH.match(str(error))
    if path is None:
        return invalid(str(error), field=_missing(str(error)))
    said, allowed = path["said"], _CHOICES.get(path["field"])
    if said.startswith("Invalid enum value") and allowed is not None:
        said = f"{said}: expected one of {', '.join(allowed)}"
    return invalid(
        said,
        field=path["field"] or _missing(said),
        index=None if path["index"] is None else int(path["index"]),
    )


def _missing(said: str) -> str | None:
    named = re.search(r"required field `(.+?)`", said)
    return named[1] if named else None


def not_found(message: str) -> ApiError:
    return ApiError(404, ErrorBody("not-found", message))


def conflict(message: str) -> ApiError:
    return ApiError(409, ErrorBody("conflict", message))


def install(app: FastAPI, headers: Mapping[str, str] | None = None) -> None:
    """Make every error of `app` one of this shape; what nobody expected is answered outside all middleware, with `headers`."""

    async def ours(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return error.response()

    async def fastapis(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first: dict[str, Any] = error.errors()[0]
        field = str(first["loc"][-1])
        return ApiError(422, ErrorBody("invalid", f"{field}: {first['msg']}", field, first["msg"])).response()

    async def starlettes(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = f"{request.method} {request.url.path}: {error.detail}"
        kind = _TYPES.get(error.status_code, "error")
        return ApiError(error.status_code, ErrorBody(kind, message), dict(error.headers or {})).response()

    async def anything(_request: Request, _error: Exception) -> Response:
        return ApiError(
            500, ErrorBody("internal", "something failed here; the log has the details"), dict(headers or {})
        ).response()

    app.add_exception_handler(ApiError, ours)
    app.add_exception_handler(RequestValidationError, fastapis)
    app.add_exception_handler(HTTPException, starlettes)
    app.add_exception_handler(Exception, anything)
