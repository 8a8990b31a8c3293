"""POST /v1/interactions: what viewers did, one event or a batch, read without a detour over Python dictionaries."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Request
from msgspec import Meta

from serving.accept import accept, check_times
from serving.errors import undecodable
from serving.inputs import InteractionIn
from serving.node import Node
from serving.openapi import Json, answers, body, ref
from serving.outputs import InteractionsAccepted
from streams.topics import INTERACTIONS

_ONE = {"user_id": "ann", "video_id": "v-42", "action": "like", "request_id": "0199-…", "position": 3}
_EXAMPLES = {
    "one": _ONE,
    "a batch": [_ONE, {"user_id": "ann", "video_id": "v-43", "action": "progress", "watch_ms": 8200}],
}


def routes(node: Node) -> APIRouter:
    router = APIRouter(tags=["ingest"], dependencies=[Depends(node.keys.needs("ingest"))])
    one = msgspec.json.Decoder(InteractionIn)
    batch = msgspec.json.Decoder(Annotated[list[InteractionIn], Meta(min_length=1, max_length=node.api.max_batch)])
    schema = {"oneOf": [ref(InteractionIn), {"type": "array", "maxItems": node.api.max_batch, "items": ref(InteractionIn)}]}

    @router.post(
        "/v1/interactions",
        status_code=202,
        response_class=Json,
        responses=answers(202, InteractionsAccepted, 400, 413, 422, 429, 503),
        openapi_extra=body(schema, _EXAMPLES),
        summary="Report what viewers did",
    )
    async def post(request: Request) -> Json:
        """One event or an array of them. 202 means that the broker has all of them; one bad one, and none is accepted.

        429 names by `index` the first event of a viewer who sent too many: without theirs the rest is welcome.
        """
        raw = await request.body()
        is_batch = raw.lstrip()[:1] == b"["
        try:
            given = batch.decode(raw) if is_batch else [one.decode(raw)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise undecodable(error) from error
        now_ms = node.clock()
        events = [each.event(now_ms=now_ms) for each in given]
        check_times(events, now_ms=now_ms, field="occurred_at", batch=is_batch)
        node.limits.events(events, batch=is_batch)
        with node.span("tap", request, user_id=events[0].user_id) as span:
            if span.is_recorded:
                actions = ", ".join(dict.fromkeys(event.action for event in events))
                span.set(action=actions, video_id=events[0].video_id, events=len(events))
            await accept(node, INTERACTIONS, events, trace=span.trace)
        return Json(InteractionsAccepted(len(events), [event.event_id for event in events]), 202)

    return router
