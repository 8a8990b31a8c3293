"""GET /v1/feed: the viewer's next page."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from serving.feed import query
from serving.feed.page import Page
from serving.node import Node, new_id
from serving.openapi import Json, answers
from serving.outputs import FeedPage, feed_page

# What a span tells of a page: its first places, which are what a tap changes.
_REASONS = 3


def routes(node: Node) -> APIRouter:
    router = APIRouter(tags=["feed"], dependencies=[Depends(node.keys.needs("feed"))])
    settings = node.feed_settings

    @router.get("/v1/feed", response_class=Json, responses=answers(200, FeedPage, 422, 429), summary="The viewer's next page")
    async def get(
        request: Request,
        user_id: Annotated[str, Query(min_length=1, max_length=128, examples=["ann"])],
        limit: Annotated[int, Query(ge=1, le=settings.max_limit)] = settings.default_limit,
        explain: Annotated[bool, Query(description="add what every stage did, and each score's parts")] = False,
        unshown: Annotated[
            list[Annotated[str, Field(max_length=128)]] | None,
            Query(max_length=settings.max_limit, description="videos of earlier pages that this one replaces, never shown"),
        ] = None,
    ) -> Json:
        """Report what the viewer does with it under its `request_id`: that is what the feed learns from."""
        node.limits.page(user_id)
        if unshown:
            node.feed.last_pages.withdraw(user_id, frozenset(unshown))
        with node.span("feed", request, user_id=user_id) as span:
            asked = query.Query(
                request_id=new_id(),
                user_id=user_id,
                limit=limit,
                now_ms=node.clock(),
                rng=node.rng,
                trace=span.trace,
            )
            page = await node.feed.pipeline_of(user_id).run(asked)
            if span.is_recorded:
                span.set(as_of=page.query.viewer.as_of, items=len(page.items), reasons=_reasons(page))
        node.metrics.page(page)
        return Json(feed_page(page, policy_version=node.policy_version(user_id), explain=explain))

    return router


def _reasons(page: Page) -> str:
    """Return why the page's first videos are on it."""
    return "; ".join(item.reason for item in page.items[:_REASONS])
