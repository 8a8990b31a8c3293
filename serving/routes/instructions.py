"""POST /v1/instructions: what a viewer asks of the feed in words."""

import msgspec
from fastapi import APIRouter, Depends, Request

from serving.accept import accept, check_times
from serving.errors import undecodable
from serving.inputs import InstructionIn
from serving.node import Node
from serving.openapi import Json, answers, body, ref
from serving.outputs import EventAccepted
from streams.topics import INTERACTIONS


def routes(node: Node) -> APIRouter:
    router = APIRouter(tags=["ingest"], dependencies=[Depends(node.keys.needs("ingest"))])
    decoder = msgspec.json.Decoder(InstructionIn)

    @router.post(
        "/v1/instructions",
        status_code=202,
        response_class=Json,
        responses=answers(202, EventAccepted, 400, 413, 422, 429, 503),
        openapi_extra=body(ref(InstructionIn), {"a wish": {"user_id": "ann", "text": "less politics, more cooking"}}),
        summary="Ask for more or less of something",
    )
    async def post(request: Request) -> Json:
        """The feed obeys within about a second, and says so in its reasons."""
        try:
            given = decoder.decode(await request.body())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise undecodable(error) from error
        now_ms = node.clock()
        event = given.event(now_ms=now_ms)
        check_times([event], now_ms=now_ms, field="occurred_at")
        node.limits.events([event])
        with node.span("tap", request, user_id=event.user_id) as span:
            span.set(action="instruction")
            await accept(node, INTERACTIONS, [event], trace=span.trace)
        return Json(EventAccepted(event.event_id), 202)

    return router
