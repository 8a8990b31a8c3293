"""GET /v1/videos/{video_id}/poster: a still of an uploaded video, shown until it plays."""

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse

from serving.node import Node
from serving.openapi import answers
from serving.posters import Posters
from serving.routes.videos import known_card

# Within this a browser asks for it once; a takedown is not waited for by any feed, which stops naming it at once.
_MAX_AGE_S = 300


def routes(node: Node) -> APIRouter:
    router = APIRouter(tags=["feed"], dependencies=[Depends(node.keys.needs("feed"))])
    posters = Posters(node.api, node.media, node.feed.catalogue.is_gone, node.files)
    described = answers(200, None, 404, 410, 503)
    described[200]["content"] = {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}
    described[304] = {"description": "the still that the client has is the one"}

    @router.get(
        "/v1/videos/{video_id:path}/poster",
        response_class=FileResponse,
        responses=described,
        summary="A still of an uploaded video",
    )
    async def poster(video_id: str, request: Request) -> Response:
        """JPEG, at most 720 pixels on its short side: the first frame that shows something. Only for files that lie here."""
        path = await posters.of(known_card(node, video_id).video)
        # By video and media: other media make another still.
        headers = {"ETag": f'"{path.parent.name}-{path.stem}"', "Cache-Control": f"private, max-age={_MAX_AGE_S}"}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return FileResponse(path, media_type="image/jpeg", headers=headers)

    return router
