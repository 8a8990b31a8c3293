"""What browsers are told to refuse: scripts, styles and requests that are not ours, and to be framed by others."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import ApiError, ErrorBody
from serving.settings import LOOPBACK

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def content_security_policy(media_origins: Sequence[str]) -> str:
    """Return the policy of our pages; `media_origins` are the hosts, besides us, whose videos they may play."""
    media = " ".join(["'self'", "blob:", *media_origins])
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "font-src 'self'",
            "img-src 'self' data:",
            f"media-src {media}",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
    )


def security_headers(media_origins: Sequence[str]) -> dict[str, str]:
    """Return the headers of every answer."""
    return _HEADERS | {"Content-Security-Policy": content_security_policy(media_origins)}


class SecurityHeaders:
    """Adds `headers` to every answer that has none of its own."""

    def __init__(self, app: ASGIApp, *, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, secured if scope["type"] == "http" else send)


class SameSite:
    """Refuses what another site makes a browser send: without keys, whoever runs this on a laptop is signed in everywhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in _SAFE and (b"sec-fetch-site", b"cross-site") in scope["headers"]:
            refusal = ErrorBody("forbidden", "expected a request of our own pages or of no browser, got one of another site")
            await ApiError(403, refusal).response()(scope, receive, send)
            return
        await self._app(scope, receive, send)


class OwnNames:
    """Refuses requests that call this machine by a name of others, where no key is needed.

    Another site may have its own name point here (DNS rebinding); a browser then takes its scripts for ours.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (name := _name(Headers(scope=scope).get("host", ""))) not in LOOPBACK:
            message = f"expected the host {' or '.join(sorted(LOOPBACK))}, got {name!r}: to be called otherwise, set api.keys"
            await ApiError(403, ErrorBody("forbidden", message)).response()(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return host
