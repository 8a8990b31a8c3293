"""GET /v1/feed: the viewer's next page."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from serving.feed import query
from serving.node import Node, new_id
from serving.openapi import Json, answers
from serving.outputs import FeedPage, feed_page


def routes(node: Node) -> APIRouter:
    router = APIRouter(tags=["feed"], dependencies=[Depends(node.keys.needs("feed"))])
    settings = node.feed_settings

    @router.get("/v1/feed", response_class=Json, responses=answers(200, FeedPage, 422), summary="The viewer's next page")
    async def get(
        request: Request,
        user_id: Annotated[str, Query(min_length=1, max_length=128, examples=["ann"])],
        limit: Annotated[int, Query(ge=1, le=settings.max_limit)] = settings.default_limit,
        explain: Annotated[bool, Query(description="add what every stage did, and each score's parts")] = False,
    ) -> Json:
        """Report what the viewer does with it under its `request_id`: that is what the feed learns from."""
        asked = query.Query(
            request_id=new_id(),
            user_id=user_id,
            limit=limit,
            now_ms=node.clock(),
            rng=node.rng,
            trace=request.state.trace,
        )
        page = await node.feed.pipeline.run(asked)
        node.metrics.page(page)
        return Json(feed_page(page, policy_version=settings.policy_version, explain=explain))

    return router
