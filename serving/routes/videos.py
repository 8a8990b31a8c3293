"""/v1/videos/{video_id}: what is known of a video, its media, its end and its takedown."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse
from pydantic import Field

from serving.accept import accept
from serving.catalogue import Card
from serving.errors import ApiError, ErrorBody, conflict, not_found
from serving.local_media import local_media, media_type
from serving.node import Node, new_id
from serving.openapi import Json, answers
from serving.outputs import EventAccepted, Forgotten, VideoView, VideoViews, video_view
from serving.purges import GONE_MARKS, SNAPSHOTS_OF_VIDEOS, VIDEO_STORES, expiring, later
from streams.events import LiveEnded, Takedown
from streams.topics import PURGES, UPLOADS


def routes(node: Node) -> APIRouter:
    router = APIRouter()
    feed, ingest, admin = (Depends(node.keys.needs(scope)) for scope in ("feed", "ingest", "admin"))

    @router.get(
        "/v1/videos/{video_id:path}/media",
        tags=["feed"],
        dependencies=[feed],
        response_class=FileResponse,
        responses=_media_answers(),
        summary="The media of an uploaded file, whole or by ranges",
    )
    async def media(video_id: str) -> FileResponse:
        """Only files that lie here; other media are where their `media_url` says."""
        path = local_media(known_card(node, video_id).video.media_uri, node.media)
        if path is None:
            raise not_found(f"video {video_id} has no media here")
        # Seen twice it is loaded once; a takedown is not waited for by any feed, which stops naming it at once.
        headers = {"Cache-Control": "private, max-age=300"}
        return FileResponse(path, media_type=media_type(path), headers=headers)

    @router.get(
        "/v1/videos",
        tags=["feed"],
        dependencies=[feed],
        response_class=Json,
        responses=answers(200, VideoViews, 422),
        summary="What is known of several videos",
    )
    async def several(
        ids: Annotated[list[Annotated[str, Field(max_length=128)]], Query(min_length=1, max_length=50)],
    ) -> Json:
        """Those that may be shown, in the order asked for: one that is missing was taken down, has ended, or never came."""
        cards = (node.feed.catalogue.find(video_id) for video_id in ids)
        return Json(VideoViews([video_view(card) for card in cards if card is not None]))

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
        return Json(video_view(known_card(node, video_id)))

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
        with node.purges.expect(event.event_id, VIDEO_STORES) as proofs:
            memory = node.forget_video(video_id)
            await accept(node, UPLOADS, [event], trace=request.state.trace)
            stores, letters = await asyncio.gather(proofs.wait(node.api.purge_wait_s), node.forget_letters(video_id))
        stores = [memory, *stores, letters]
        complete = all(store.status == "purged" for store in stores)
        return Json(
            Forgotten(
                event_id=event.event_id,
                video_id=video_id,
                complete=complete,
                stores=[
                    *stores,
                    *map(expiring, (UPLOADS, PURGES)),
                    later("recovery snapshots", SNAPSHOTS_OF_VIDEOS),
                    later("marks of what is gone", GONE_MARKS),
                ],
            )
        )

    return router


def _media_answers() -> dict[int | str, dict[str, Any]]:
    described = answers(200, None, 404, 410)
    binary = {"video/*": {"schema": {"type": "string", "format": "binary"}}}
    return described | {
        200: {"description": "all of it", "content": binary},
        206: {"description": "the part asked for with Range", "content": binary},
        400: {"description": "a Range that is none", "content": {"text/plain": {"schema": {"type": "string"}}}},
        416: {"description": "a Range past the end", "content": {"text/plain": {"schema": {"type": "string"}}}},
    }


def known_card(node: Node, video_id: str) -> Card:
    """Return what is known of a video; raises the 410 of one that is gone and the 404 of any other."""
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
