"""OpenAPI for bodies that msgspec reads and writes: their schemas and examples, put where FastAPI would put its own."""

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import FastAPI, Response

from serving import inputs, outputs
from serving.errors import ErrorAnswer
from serving.node import Check
from serving.ops import view
from serving.ops.learning import LearningView
from serving.progress import Step

_TYPES = (
    inputs.SessionIn, outputs.SessionView, outputs.Alive, outputs.Ready, Step,
    inputs.UploadIn, inputs.InteractionIn, inputs.InstructionIn, outputs.UploadAccepted, outputs.InteractionsAccepted,
    outputs.EventAccepted, outputs.FeedPage, outputs.VideoView, outputs.VideoViews, outputs.Forgotten, ErrorAnswer, Check,
    view.OpsView, view.History, view.Sample, view.Letters, view.LetterView, view.PurgeView, LearningView,
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


def answers(status: int, kind: type | None, *errors: int) -> dict[int | str, dict[str, Any]]:
    """Return `responses` for a route that answers `kind` (None: nothing but its status), or one of `errors`."""
    described: dict[int | str, dict[str, Any]] = {status: {"description": "done"}}
    if kind is not None:
        described[status]["content"] = content(ref(kind))
    for error in errors:
        described[error] = {"description": _ERRORS[error], "content": content(ref(ErrorAnswer))}
    return described


def stream_of(event: str, kind: type, *errors: int) -> dict[int | str, dict[str, Any]]:
    """Return `responses` for a route that streams events named `event`, each with a `kind` as its data."""
    described = answers(200, None, *errors)
    schema = {"type": "string", "description": f"server-sent events `{event}`, the data of each a {kind.__name__}"}
    described[200] = {"description": "a stream that stays open", "content": {"text/event-stream": {"schema": schema}}}
    return described


_ERRORS = {
    400: "not JSON",
    401: "no key, or an unknown one",
    403: "the key has not this scope",
    404: "not there",
    409: "this video was taken down, or is another author's",
    410: "gone for good",
    413: "the body is too large",
    422: "a field breaks its bound",
    429: "too many: try again after Retry-After seconds",
    503: "busy: try again after Retry-After seconds",
    507: "the disk is full: nothing was kept",
}


def _add_refusals(document: dict[str, Any]) -> None:
    """Tell, wherever a key is needed, how those without one are answered."""
    for path in document["paths"].values():
        for operation in path.values():
            if operation.get("security"):
                for status in (401, 403, 429):
                    refused = {"description": _ERRORS[status], "content": content(ref(ErrorAnswer))}
                    operation["responses"].setdefault(str(status), refused)


def _mend(document: dict[str, Any]) -> None:
    """Put right what FastAPI says of answers that it does not make: a text beside a reference, and errors in another shape."""
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    for status, answer in (described for operation in operations for described in operation["responses"].items()):
        for body in answer.get("content", {}).values():
            schema = body.get("schema", {})
            if "$ref" in schema:
                schema.pop("type", None)
            if status == "422":
                answer["description"], body["schema"] = _ERRORS[422], ref(ErrorAnswer)
    for theirs in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(theirs, None)


def install(app: FastAPI) -> None:
    """Add the schemas of msgspec types to the document of `app`."""
    made_by_fastapi = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = made_by_fastapi()
            _, components = msgspec.json.schema_components(_TYPES, ref_template=_TEMPLATE)
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(components)
            _add_refusals(made)
            _mend(made)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
