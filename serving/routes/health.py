"""/healthz, /readyz and /metrics: for those who run it."""

from fastapi import APIRouter, Response

from serving.node import Node
from serving.openapi import Json, answers
from serving.outputs import Alive, Ready


def routes(node: Node) -> APIRouter:
    router = APIRouter(tags=["operation"])

    @router.get("/healthz", response_class=Json, responses=answers(200, Alive), summary="Is the process alive?")
    async def healthz() -> Json:
        """Answers as long as the process does: restart it when this fails, and only then."""
        return Json(Alive("alive"))

    described = answers(200, Ready)
    described[503] = {"description": "something required is away", "content": described[200]["content"]}

    @router.get("/readyz", response_class=Json, responses=described, summary="May requests be sent here?")
    async def readyz() -> Json:
        """503 while something required is away; "degraded" where the feed goes on without it."""
        checks = await node.checks()
        missing = any(check.required and not check.ok for check in checks)
        degraded = any(not check.ok for check in checks)
        status = "not ready" if missing else "degraded" if degraded else "ready"
        return Json(Ready(status, len(node.feed.catalogue), checks), 503 if missing else 200)

    text = {"text/plain": {"schema": {"type": "string"}}}

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"description": "in Prometheus' text format", "content": text}},
        summary="Metrics for Prometheus",
    )
    async def metrics() -> Response:
        return Response(node.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
