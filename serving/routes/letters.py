"""/v1/dead-letters: input that could not be used, and another try for it after a fix."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from serving.accept import busy
from serving.errors import conflict, not_found
from serving.node import Node
from serving.openapi import Json, answers
from serving.ops.letters import NoLetter
from serving.ops.view import Letters, LetterView
from streams.dead_letters import NotReplayable


def routes(node: Node) -> APIRouter:
    router = APIRouter(prefix="/v1/dead-letters", tags=["operation"], dependencies=[Depends(node.keys.needs("admin"))])
    letters = node.ops.letters

    @router.get("", response_class=Json, responses=answers(200, Letters, 422), summary="Input that could not be used")
    async def several(
        origin: Annotated[str | None, Query(description="only from this topic", max_length=128)] = None,
        reason: Annotated[str | None, Query(description="only where the reason contains this text", max_length=500)] = None,
        is_open: Annotated[bool | None, Query(alias="open", description="only those not replayed, or only the others")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Json:
        """Newest first, each with the first 4 kB of its payload. This node keeps the newest thousand."""
        return Json(letters.index.list(origin=origin, reason=reason, is_open=is_open, limit=limit))

    @router.post(
        "/{letter_id:path}/replay",
        status_code=202,
        response_class=Json,
        responses=answers(202, LetterView, 404, 409, 503),
        summary="Send one again",
    )
    async def replay(letter_id: str) -> Json:
        """To the topic it came from, with its key. What was counted already counts once all the same."""
        try:
            return Json(await asyncio.to_thread(letters.replay, letter_id), 202)
        except NoLetter as error:
            raise not_found(str(error)) from error
        except NotReplayable as error:
            raise conflict(f"this letter can't be sent again: {error}") from error
        except ConnectionError as error:
            raise busy(node, str(error)) from error

    @router.get(
        "/{letter_id:path}", response_class=Json, responses=answers(200, LetterView, 404, 503), summary="One with all of it"
    )
    async def one(letter_id: str) -> Json:
        """With its whole payload, read from the broker where it is long."""
        try:
            return Json(await asyncio.to_thread(letters.whole, letter_id))
        except NoLetter as error:
            raise not_found(str(error)) from error
        except ConnectionError as error:
            raise busy(node, str(error)) from error

    return router
