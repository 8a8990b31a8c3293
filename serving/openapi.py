"""OpenAPI for bodies that msgspec reads and writes: their schemas and examples, put where FastAPI would put its own."""

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import FastAPI, Response

from serving import inputs, outputs
from serving.errors import ErrorAnswer
from serving.node import Check

_TYPES = (
    inputs.UploadIn, inputs.InteractionIn, inputs.InstructionIn, outputs.UploadAccepted, outputs.InteractionsAccepted,
    outputs.EventAccepted, outputs.FeedPage, outputs.VideoView, outputs.Forgotten, ErrorAnswer, Check,
)  # fmt: skip
_TEMPLATE = "#/components/schemas/{name}"


class Json(Response):
    """A JSON response of a msgspec struct."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


def ref(kind: type) -> dict[str, str]:
    """Return the reference to a type's schema."""
    return {"$ref": _TEMPLATE.format(name=kind.__name__)}


def content(schema: Mapping[str, Any], examples: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a JSON body's description; `examples` are by their summary."""
    named = {summary: {"value": value} for summary, value in (examples or {}).items()}
    return {"application/json": {"schema": schema} | ({"examples": named} if named else {})}


def body(schema: Mapping[str, Any], examples: Mapping[str, Any]) -> dict[str, Any]:
    """Return `openapi_extra` for a route that reads its raw body."""
    return {"requestBody": {"required": True, "content": content(schema, examples)}}


def answers(status: int, kind: type, *errors: int) -> dict[int | str, dict[str, Any]]:
    """Return `responses` for a route that answers `kind`, or one of `errors`."""
    described: dict[int | str, dict[str, Any]] = {status: {"description": "done", "content": content(ref(kind))}}
    for error in errors:
        described[error] = {"description": _ERRORS[error], "content": content(ref(ErrorAnswer))}
    return described


_ERRORS = {
    400: "not JSON",
    401: "no key, or an unknown one",
    403: "the key has not this scope",
    404: "not there",
    409: "this video was taken down",
    410: "gone for good",
    413: "the body is too large",
    422: "a field breaks its bound",
    503: "busy: try again after Retry-After seconds",
}


def install(app: FastAPI) -> None:
    """Add the schemas of msgspec types to the document of `app`."""
    made_by_fastapi = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = made_by_fastapi()
            _, components = msgspec.json.schema_components(_TYPES, ref_template=_TEMPLATE)
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(components)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
