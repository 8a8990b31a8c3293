"""/v1/session: a browser signs in with a key once, and its events, pictures and videos come by a cookie from then on."""

import msgspec
from fastapi import APIRouter, Request, Response

from serving.errors import undecodable
from serving.inputs import SessionIn
from serving.keys import GivenBearer, GivenCookie, GivenHeader
from serving.node import Node
from serving.openapi import Json, answers, body, ref
from serving.outputs import SessionView


def routes(node: Node) -> APIRouter:
    router = APIRouter(prefix="/v1/session", tags=["session"])
    decoder = msgspec.json.Decoder(SessionIn)
    keys = node.keys

    @router.post(
        "",
        status_code=204,
        response_class=Response,
        responses=answers(204, None, 400, 401, 413, 422),
        openapi_extra=body(ref(SessionIn), {"a key": {"key": "the key, as in api.keys"}}),
        summary="Sign in",
    )
    async def sign_in(request: Request) -> Response:
        """A cookie that lasts `api.session_h`; scripts can't read it, and it says which key it is of, never the key."""
        try:
            given = decoder.decode(await request.body())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise undecodable(error) from error
        answer = Response(status_code=204)
        keys.sign_in(given.key, request, answer)
        return answer

    @router.delete("", status_code=204, response_class=Response, responses=answers(204, None), summary="Sign out")
    async def sign_out(request: Request) -> Response:
        """The cookie goes; it stays good until it expires for whoever kept a copy, unless the key is removed."""
        answer = Response(status_code=204)
        keys.sign_out(request, answer)
        return answer

    @router.get("", response_class=Json, responses=answers(200, SessionView), summary="What may I do?")
    async def get(header: GivenHeader, bearer: GivenBearer, cookie: GivenCookie) -> Json:
        """`open` where no key is needed; without a key or session that is good now, no scopes."""
        return Json(SessionView(open=keys.open, scopes=sorted(keys.scopes_or_none(header, bearer, cookie))))

    return router
