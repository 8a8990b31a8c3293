"""/v1/videos/{video_id}: what is known of a video, its media, its end and its takedown."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse

from models.perception.media import check_uri
from serving.accept import accept
from serving.catalogue import Card
from serving.errors import ApiError, ErrorBody, conflict, not_found
from serving.node import Node, new_id
from serving.openapi import Json, answers
from serving.outputs import EventAccepted, Forgotten, VideoView, video_view
from serving.purges import MEDIA_FILES, VIDEO_STORES, expiring
from streams.events import LiveEnded, Takedown
from streams.ports import BadMedia
from streams.topics import DEAD_LETTERS, UPLOADS


def routes(node: Node) -> APIRouter:
    router = APIRouter()
    feed, ingest, admin = (Depends(node.keys.needs(scope)) for scope in ("feed", "ingest", "admin"))

    @router.get(
        "/v1/videos/{video_id:path}/media",
        tags=["feed"],
        dependencies=[feed],
        response_class=FileResponse,
        summary="The media of an uploaded file, whole or by ranges",
    )
    async def media(video_id: str) -> FileResponse:
        """Only files that lie here; other media are where their `media_url` says."""
        uri = _card(node, video_id).video.media_uri or ""
        try:
            check_uri(uri, node.media)
        except BadMedia as error:
            raise not_found(f"video {video_id} has no media here") from error
        path = Path(unquote(urlsplit(uri).path))
        if urlsplit(uri).scheme != "file" or not path.is_file():
            raise not_found(f"video {video_id} has no media here")
        return FileResponse(path, headers={"X-Content-Type-Options": "nosniff"})

    @router.post(
        "/v1/videos/{video_id:path}/end",
        tags=["ingest"],
        dependencies=[ingest],
        status_code=202,
        response_class=Json,
        responses=answers(202, EventAccepted, 503),
        summary="End a live room",
    )
    async def end(video_id: str, request: Request) -> Json:
        """It leaves every feed at once."""
        card = node.feed.catalogue.find(_id(video_id))
        if card is not None and card.video.kind != "live":
            raise conflict(f"video {video_id} is no live room: an administrator can take it down")
        event = LiveEnded(event_id=new_id(), video_id=_id(video_id), at=node.clock())
        await accept(node, UPLOADS, [event], trace=request.state.trace)
        node.forget_video(video_id)
        return Json(EventAccepted(event.event_id), 202)

    @router.get(
        "/v1/videos/{video_id:path}",
        tags=["feed"],
        dependencies=[feed],
        response_class=Json,
        responses=answers(200, VideoView, 404, 410),
        summary="What is known of a video",
    )
    async def get(video_id: str) -> Json:
        """404 until it was perceived, 410 once it is gone."""
        return Json(video_view(_card(node, video_id)))

    @router.delete(
        "/v1/videos/{video_id:path}",
        tags=["admin"],
        dependencies=[admin],
        response_class=Json,
        responses=answers(200, Forgotten, 503),
        summary="Take a video down",
    )
    async def takedown(video_id: str, request: Request, reason: str = "") -> Json:
        """It leaves this node at once and every other within a second; the answer names every store and what went."""
        event = Takedown(event_id=new_id(), video_id=_id(video_id), at=node.clock(), reason=reason[:500])
        card = node.feed.catalogue.find(video_id)
        here = card is not None and (card.video.media_uri or "").startswith(Path(node.api.media_dir).resolve().as_uri())
        with node.purges.expect(event.event_id, [*VIDEO_STORES, *([MEDIA_FILES] if here else [])]) as proofs:
            memory = node.forget_video(video_id)
            await accept(node, UPLOADS, [event], trace=request.state.trace)
            stores = await proofs.wait(node.api.purge_wait_s)
        complete = all(store.status == "purged" for store in stores)
        return Json(
            Forgotten(
                event_id=event.event_id,
                video_id=video_id,
                complete=complete,
                stores=[memory, *stores, *map(expiring, (UPLOADS, DEAD_LETTERS))],
            )
        )

    return router


def _card(node: Node, video_id: str) -> Card:
    card = node.feed.catalogue.find(video_id)
    if card is not None:
        return card
    if node.feed.catalogue.is_gone(video_id):
        raise ApiError(410, ErrorBody("gone", f"video {video_id} was taken down or has ended"))
    raise not_found(f"video {video_id} is not in the catalogue: not uploaded, not perceived yet, or too old")


def _id(video_id: str) -> str:
    if len(video_id) > 128:
        raise ApiError(
            422, ErrorBody("invalid", "expected a video_id of 1 to 128 characters", "video_id", "1 to 128 characters")
        )
    return video_id
