"""GET /v1/users/{user_id}/spans: what a viewer's taps set off, told while it happens."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from serving.node import Node
from serving.openapi import stream_of
from serving.sse import EventStream, event_stream
from streams.events import Span


def routes(node: Node) -> APIRouter:
    router = APIRouter(tags=["feed"], dependencies=[Depends(node.keys.needs("feed"))])

    @router.get(
        "/v1/users/{user_id:path}/spans",
        response_class=EventStream,
        responses=stream_of("span", Span, 503),
        summary="Follow a viewer's traces",
    )
    async def spans(user_id: Annotated[str, Path(min_length=1, max_length=128)]) -> EventStream:
        """From now on, the steps of requests that were sent with a sampled `traceparent` (…-01), each when it is over."""
        return event_stream(_of(node, user_id), node=node)

    return router


async def _of(node: Node, user_id: str) -> AsyncIterator[tuple[str, Span]]:
    with node.spans.listening(lambda span: span.user_id == user_id) as coming:
        async for span in coming:
            yield "span", span
