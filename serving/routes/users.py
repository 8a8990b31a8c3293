"""DELETE /v1/users/{user_id}: forget a viewer, everywhere, and prove it."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from serving.accept import accept
from serving.node import Node, new_id
from serving.openapi import Json, answers
from serving.outputs import Forgotten
from serving.purges import SNAPSHOTS_OF_USERS, USER_STORES, expiring, later
from streams.events import Erasure
from streams.topics import FEEDBACK, INTERACTIONS, PURGES, SLATES, SPANS


def routes(node: Node) -> APIRouter:
    router = APIRouter(tags=["admin"], dependencies=[Depends(node.keys.needs("admin"))])

    @router.delete(
        "/v1/users/{user_id:path}",
        response_class=Json,
        responses=answers(200, Forgotten, 503),
        summary="Forget a viewer",
    )
    async def erase(user_id: Annotated[str, Path(min_length=1, max_length=128)], request: Request) -> Json:
        """The answer lists every store: what was purged, what is pending, and what goes when it expires."""
        event = Erasure(event_id=new_id(), user_id=user_id, occurred_at=node.clock())
        with node.purges.expect(event.event_id, USER_STORES) as proofs:
            memory = node.forget_user(user_id)
            await accept(node, INTERACTIONS, [event], trace=request.state.trace)
            stores, letters = await asyncio.gather(proofs.wait(node.api.purge_wait_s), node.forget_letters(user_id))
        stores = [memory, *stores, letters]
        complete = all(store.status == "purged" for store in stores)
        expire = [expiring(topic) for topic in (INTERACTIONS, SLATES, FEEDBACK, PURGES, SPANS)]
        expire.append(later("recovery snapshots", SNAPSHOTS_OF_USERS))
        return Json(Forgotten(event_id=event.event_id, user_id=user_id, complete=complete, stores=[*stores, *expire]))

    return router
