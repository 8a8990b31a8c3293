"""POST /v1/uploads: a new video or live room, by its address or with its file."""

from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Request
from msgspec.structs import replace
from starlette.datastructures import FormData, UploadFile

from models.perception.media import check_uri
from serving.accept import accept, busy, check_times
from serving.errors import ApiError, ErrorBody, invalid, undecodable
from serving.inputs import UploadIn
from serving.media_store import StoredMedia, no_room, store_media
from serving.node import Node
from serving.openapi import Json, answers, body, ref
from serving.outputs import UploadAccepted
from streams.events import Upload
from streams.ports import BadMedia, PerceptionUnavailable
from streams.topics import UPLOADS

_EXAMPLES = {
    "by address": {"author_id": "ann", "title": "Pasta carbonara", "media_uri": "https://cdn.example.com/carbonara.mp4"},
    "a live room": {"author_id": "ann", "title": "Cooking live", "kind": "live", "tags": ["cooking"]},
}
_FORM = {
    "schema": {
        "type": "object",
        "required": ["file", "author_id", "title"],
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "author_id": {"type": "string"},
            "title": {"type": "string"},
            "video_id": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "language": {"type": "string"},
            "uploaded_at": {"type": "integer"},
        },
    }
}
# The form has no other file, and no more fields than an upload.
_MAX_FIELDS = 64


def routes(node: Node) -> APIRouter:
    router = APIRouter(tags=["ingest"], dependencies=[Depends(node.keys.needs("ingest"))])
    decoder = msgspec.json.Decoder(UploadIn)
    extra = body(ref(UploadIn), _EXAMPLES)
    extra["requestBody"]["content"]["multipart/form-data"] = _FORM

    @router.post(
        "/v1/uploads",
        status_code=202,
        response_class=Json,
        responses=answers(202, UploadAccepted, 400, 409, 413, 422, 503, 507),
        openapi_extra=extra,
        summary="Announce a video, or send it",
    )
    async def post(request: Request) -> Json:
        """202 means that the broker has the upload; it is in the feed from its title within a second."""
        stored: StoredMedia | None = None
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            try:
                async with request.form(max_files=1, max_fields=_MAX_FIELDS) as form:
                    event = _checked(node, _from_form(form))
                    stored = await _stored(node, event, form.get("file"))
            except OSError as error:
                raise no_room(error) from error
            event = replace(event, media_uri=stored.uri, duration_ms=stored.duration_ms)
        else:
            try:
                event = _checked(node, decoder.decode(await request.body()))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise undecodable(error) from error
        nothing_became_of_it = (lambda: None) if stored is None else stored.discard
        with node.span("upload", request, user_id=event.author_id) as span:
            span.set(video_id=event.video_id)
            await accept(node, UPLOADS, [event], trace=span.trace, refused=nothing_became_of_it)
        node.progress.accepted(event, at=node.clock())
        return Json(UploadAccepted(event.event_id, event.video_id, event.media_uri), 202)

    return router


def _checked(node: Node, given: UploadIn) -> Upload:
    now_ms = node.clock()
    event = given.event(now_ms=now_ms)
    check_times([event], now_ms=now_ms, field="uploaded_at")
    if node.feed.catalogue.is_gone(event.video_id):
        message = f"video {event.video_id} was taken down or has ended, which is for good: use another video_id"
        raise ApiError(409, ErrorBody("gone", message, "video_id"))
    known = node.feed.catalogue.find(event.video_id)
    if known is not None and known.video.author_id != event.author_id:
        message = f"video {event.video_id} is another author's: use another video_id"
        raise ApiError(409, ErrorBody("conflict", message, "video_id"))
    if event.media_uri is not None:
        try:
            check_uri(event.media_uri, node.media)
        except BadMedia as error:
            raise invalid(str(error), field="media_uri") from error
    return event


def _from_form(form: FormData) -> UploadIn:
    fields: dict[str, Any] = {name: value for name, value in form.items() if isinstance(value, str)}
    if "tags" in fields:
        fields["tags"] = form.getlist("tags")
    if "media_uri" in fields:
        raise invalid("media_uri: expected a file or a media_uri, got both", field="media_uri")
    try:
        return msgspec.convert(fields, UploadIn, strict=False)
    except msgspec.ValidationError as error:
        raise undecodable(error) from error


async def _stored(node: Node, event: Upload, file: UploadFile | str | None) -> StoredMedia:
    if not isinstance(file, UploadFile):
        raise invalid("file: expected a video file in the form's field 'file', got none", field="file")
    try:
        return await store_media(node, event.video_id, file)
    except BadMedia as error:
        raise invalid(f"file: {error}", field="file") from error
    except PerceptionUnavailable as error:
        raise busy(node, str(error), [event]) from error
