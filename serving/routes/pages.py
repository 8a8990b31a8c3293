"""The web pages: the viewer's at /, the operator's at /ops, the API's at /docs, and what they are made of at /static."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.routing import Mount

PAGES = Path(__file__).parents[1] / "pages"


def routes() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def viewer() -> FileResponse:
        return FileResponse(PAGES / "index.html")

    @router.get("/ops")
    async def operator() -> FileResponse:
        return FileResponse(PAGES / "ops.html")

    @router.get("/docs")
    async def docs() -> FileResponse:
        return FileResponse(PAGES / "docs.html")

    return router


def static() -> Mount:
    """Return what serves styles, scripts, fonts and vendored libraries; browsers ask again whether each is still the same."""
    return Mount("/static", StaticFiles(directory=PAGES), name="static")
