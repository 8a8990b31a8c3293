"""/v1/ops and /v1/purges: what operators see of the loop, now, over the last hour, and as it happens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from serving.node import Node
from serving.openapi import Json, answers, content, ref, stream_of
from serving.ops.learning import LearningView
from serving.ops.view import History, OpsView, PurgeView, Sample
from serving.sse import EventStream, event_stream


def routes(node: Node) -> APIRouter:
    router = APIRouter(tags=["operation"], dependencies=[Depends(node.keys.needs("admin"))])
    ops = node.ops

    @router.get("/v1/ops", response_class=Json, responses=answers(200, OpsView), summary="How everything is")
    async def now() -> Json:
        """Everything as of the last second: flows, servers, topics, the catalogue and the feed of this node."""
        return Json(ops.newest().view)

    @router.get("/v1/ops/history", response_class=Json, responses=answers(200, History), summary="The last hour")
    async def history() -> Response:
        """Every series, one value a second; null where nothing was measured."""
        return Response(await asyncio.to_thread(ops.history), media_type=Json.media_type)

    @router.get("/v1/ops/learning", response_class=Json, responses=answers(200, LearningView), summary="What was learned")
    async def learning() -> Json:
        """What serves of each model and its canary, the newest decisions, and at most 500 points of each curve."""
        return Json(await asyncio.to_thread(node.learning.view))

    @router.get(
        "/v1/ops/stream", response_class=EventStream, responses=stream_of("sample", Sample, 503), summary="Follow how it is"
    )
    async def stream() -> EventStream:
        """The newest view at once, and one each second from then on, with the newest value of each series."""
        return event_stream(_samples(node), node=node, for_operators=True)

    @router.get(
        "/v1/purges",
        response_class=Json,
        responses={
            200: {"description": "done", "content": content({"type": "array", "items": ref(PurgeView)})},
        },
        summary="Takedowns and erasures with their proofs",
    )
    async def purges(limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> Json:
        """Newest first; complete once every store has proven that it let go."""
        return Json(ops.purges.newest(limit))

    return router


async def _samples(node: Node) -> AsyncIterator[tuple[str, Sample]]:
    yield "sample", node.ops.newest()
    with node.ops.samples.listening(lambda _sample: True) as coming:
        async for sample in coming:
            yield "sample", sample
