"""The HTTP API of one node."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI

from serving import errors, openapi
from serving.middleware import BodyLimit, Telemetry
from serving.node import Node
from serving.routes import (
    feed,
    health,
    instructions,
    interactions,
    letters,
    ops,
    pages,
    posters,
    progress,
    session,
    spans,
    uploads,
    users,
    videos,
)
from serving.security import OwnNames, SameSite, SecurityHeaders, security_headers

_DESCRIPTION = """A streaming real-time recommender: a video uploaded now can be shown now,
a tap made now changes the next page.

Errors have one shape: `{"error": {"type", "message", "field", "bound", "index"}}`. Times are Unix milliseconds, UTC.
"""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _nothing(_app: FastAPI) -> AsyncIterator[None]:
    yield


def create_app(node: Node, *, lifespan: Lifespan = _nothing) -> FastAPI:
    """Return the application that serves `node`; `lifespan` starts and stops what runs beside it."""
    app = FastAPI(
        title="Headwater",
        version="1",
        description=_DESCRIPTION,
        lifespan=lifespan,
        # FastAPI's own pages of documentation come from another host, which our policy refuses; ours is among the pages.
        docs_url=None,
        redoc_url=None,
    )
    # What ends in a word comes before the routes that take any path as a video's id.
    ingest, viewing = (session, uploads, interactions, instructions), (feed, posters, progress, spans, videos)
    for module in (*ingest, *viewing, users, ops, letters, health):
        app.include_router(module.routes(node))
    app.include_router(pages.routes())
    app.routes.append(pages.static())
    app.state.streams = node.streams
    headers = security_headers(node.api.media_origins)
    errors.install(app, headers)
    openapi.install(app)
    app.add_middleware(BodyLimit, json_bytes=node.api.max_body_bytes, media_bytes=node.media.max_bytes)
    app.add_middleware(SameSite)
    if node.keys.open:
        app.add_middleware(OwnNames)
    app.add_middleware(SecurityHeaders, headers=headers)
    app.add_middleware(Telemetry, metrics=node.metrics, sampling=node.sampling)
    return app
