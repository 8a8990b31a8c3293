"""What every request goes through: its trace context, its metrics, and the bound on its body."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import ApiError, ErrorBody
from serving.metrics import Metrics
from serving.sampling import Sampling
from streams.tracing import precise_now


class Telemetry:
    """Reads or makes the W3C trace context (`request.state.trace`), answers with it, and measures.

    `request.state.started_at` is when the request came, Unix ms.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, sampling: Sampling) -> None:
        self._app = app
        self._sampling = sampling
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        ended: float | None = None
        status = 500
        trace = self._sampling.context(_header(scope, b"traceparent"))
        scope.setdefault("state", {}).update(trace=trace, started_at=precise_now())

        async def traced(message: Message) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                if dict(message["headers"]).get(b"content-type", b"").startswith(b"text/event-stream"):
                    # A stream is answered when it begins: how long somebody watches is no latency.
                    ended = time.perf_counter()
                message["headers"] = [*message.get("headers", ()), (b"traceparent", trace.encode())]
            await send(message)

        try:
            await self._app(scope, receive, traced)
        finally:
            # The template, not the path: a label for each video would be a time series for each video.
            route = getattr(scope.get("route"), "path_format", "unmatched")
            self._metrics.answered(route, scope["method"], status, (ended or time.perf_counter()) - started)


class BodyLimit:
    """Refuses bodies past a bound, by what they say of their length and by what comes: a chunked one says nothing."""

    def __init__(self, app: ASGIApp, *, json_bytes: int, media_bytes: int) -> None:
        self._app = app
        self._json_bytes = json_bytes
        self._media_bytes = media_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        media = (_header(scope, b"content-type") or "").startswith("multipart/form-data")
        # A form's fields come on top of its file.
        limit = self._media_bytes + self._json_bytes if media else self._json_bytes
        option = "media.max_bytes" if media else "api.max_body_bytes"
        said = _header(scope, b"content-length") or "0"
        if said.isdigit() and int(said) > limit:
            await _too_large(int(said), limit, option).response()(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(received, limit, option)
            return message

        await self._app(scope, counted, send)


def _too_large(size: int, limit: int, option: str) -> ApiError:
    message = f"expected a body of at most {limit} bytes ({option}), got {size} or more"
    return ApiError(413, ErrorBody("too-large", message, bound=f"{limit} bytes"), {"Connection": "close"})


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None
