"""GET /v1/videos/{video_id}/progress: a new video's way, told step by step as it is reached."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends

from serving.errors import ApiError, ErrorBody, not_found
from serving.node import Node
from serving.openapi import stream_of
from serving.progress import Step, known_steps
from serving.sse import EventStream, event_stream

# What one node accepted another knows once it has read it, which takes some tens of ms.
_WAIT_S, _LOOK_EVERY_S = 2.0, 0.05


def routes(node: Node) -> APIRouter:
    router = APIRouter(tags=["feed"], dependencies=[Depends(node.keys.needs("feed"))])

    @router.get(
        "/v1/videos/{video_id:path}/progress",
        response_class=EventStream,
        responses=stream_of("step", Step, 404, 410, 503),
        summary="Follow a new video to its first impression",
    )
    async def progress(video_id: str) -> EventStream:
        """The steps reached so far, then each that follows; ends with the first impression, or where the way does."""
        return event_stream(await _steps(node, video_id), node=node)

    return router


async def _steps(node: Node, video_id: str) -> AsyncIterator[tuple[str, Step]]:
    for _ in range(round(_WAIT_S / _LOOK_EVERY_S)):
        if video_id in node.progress:
            return _following(node, video_id)
        card = node.feed.catalogue.find(video_id)
        if card is not None:
            return _told(known_steps(card))
        if node.feed.catalogue.is_gone(video_id):
            raise ApiError(410, ErrorBody("gone", f"video {video_id} was taken down or has ended"))
        await asyncio.sleep(_LOOK_EVERY_S)
    raise not_found(f"video {video_id} is not known here: not uploaded, or too long ago")


async def _following(node: Node, video_id: str) -> AsyncIterator[tuple[str, Step]]:
    async for step in node.progress.steps(video_id):
        yield "step", step


async def _told(steps: list[Step]) -> AsyncIterator[tuple[str, Step]]:
    for step in steps:
        yield "step", step
