"""API keys: who may do what, by a header or, for browsers, by a cookie that tells which key and never the key."""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, get_args

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from itsdangerous import BadSignature, SignatureExpired, TimestampSigner
from starlette.responses import Response

from serving.errors import ApiError, ErrorBody
from serving.limits import Limits
from serving.settings import ApiSettings, Scope
from streams.clock import Clock

COOKIE = "headwater_session"
EVERYTHING: frozenset[Scope] = frozenset(get_args(Scope))

_header = APIKeyHeader(name="X-API-Key", auto_error=False)
_bearer = HTTPBearer(auto_error=False)
_cookie = APIKeyCookie(name=COOKIE, auto_error=False)

GivenHeader = Annotated[str | None, Depends(_header)]
GivenBearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
GivenCookie = Annotated[str | None, Depends(_cookie)]


class Keys:
    """The configured keys; without any, everyone may do everything (settings allow that on loopback only)."""

    def __init__(self, api: ApiSettings, clock: Clock, limits: Limits) -> None:
        self._limits = limits
        self.session_s = int(api.session_h * 3600)
        self._known = {known.id: known for known in (_Known.of(key.key, key.scopes, api, clock) for key in api.keys)}

    @property
    def open(self) -> bool:
        """Tell whether everyone may do everything."""
        return not self._known

    def needs(self, scope: Scope) -> Callable[..., Awaitable[None]]:
        """Return the dependency that lets only those in whose key has `scope`, or is an admin's."""

        async def check(header: GivenHeader, bearer: GivenBearer, cookie: GivenCookie) -> None:
            known = self._of(header, bearer, cookie)
            if known is None:
                return
            self._limits.request(known.id)
            if scope not in known.scopes:
                raise ApiError(403, ErrorBody("forbidden", f"this key has no scope '{scope}' (api.keys)", bound=scope))

        return check

    def scopes(self, header: str | None, bearer: HTTPAuthorizationCredentials | None, cookie: str | None) -> frozenset[Scope]:
        """Return what the sender of these may do; a header is believed before a cookie.

        Raises:
            ApiError: 401 where there is no key, an unknown one, or a session that is not one of ours or has expired.
        """
        known = self._of(header, bearer, cookie)
        return EVERYTHING if known is None else known.scopes

    def _of(self, header: str | None, bearer: HTTPAuthorizationCredentials | None, cookie: str | None) -> "_Known | None":
        """Return the key of a request, None where everyone may do everything."""
        if self.open:
            return None
        given = header or (bearer.credentials if bearer is not None else None)
        if given is not None:
            return self._of_key(given)
        if cookie is not None:
            return self._of_session(cookie)
        raise _unauthorized("expected a key in X-API-Key or Authorization: Bearer, or a session (POST /v1/session), got none")

    def scopes_or_none(
        self, header: str | None, bearer: HTTPAuthorizationCredentials | None, cookie: str | None
    ) -> frozenset[Scope]:
        """Return what the sender of these may do, which is nothing for a stranger."""
        try:
            return self.scopes(header, bearer, cookie)
        except ApiError:
            return frozenset()

    def sign_in(self, key: str, request: Request, response: Response) -> None:
        """Give `response` the cookie of a session of `key`. Raises the 401 of an unknown one."""
        if self.open:
            return
        response.set_cookie(
            COOKIE,
            self._of_key(key).session(),
            max_age=self.session_s,
            path="/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )

    def sign_out(self, request: Request, response: Response) -> None:
        """Take the cookie away."""
        response.delete_cookie(COOKIE, path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict")

    def _of_key(self, given: str) -> "_Known":
        digest = hashlib.sha256(given.encode()).digest()
        found: _Known | None = None
        # Every key is compared, each in constant time: how long it takes tells nothing of how near a guess was.
        for known in self._known.values():
            if hmac.compare_digest(known.digest, digest):
                found = known
        if found is None:
            raise _unauthorized("unknown key (api.keys)")
        return found

    def _of_session(self, cookie: str) -> "_Known":
        known = self._known.get(cookie.partition(".")[0])
        if known is not None:
            try:
                known.signer.unsign(cookie, max_age=self.session_s)
            except SignatureExpired:
                raise _unauthorized("the session has expired: sign in again (POST /v1/session)") from None
            except BadSignature:
                known = None
        if known is None:
            raise _unauthorized("no such session: sign in again (POST /v1/session)")
        return known


# Sessions that nothing else can sign end with the process.
_OF_THIS_PROCESS = secrets.token_hex(32)


@dataclass(frozen=True)
class _Known:
    """A configured key: its digest, a short name that betrays nothing of it, and what signs its sessions.

    Each key signs with a secret of its own: with one for all, whoever holds a key could try to guess the others by it.
    """

    id: str
    digest: bytes
    scopes: frozenset[Scope]
    signer: TimestampSigner

    @classmethod
    def of(cls, key: str, scopes: frozenset[Scope], api: ApiSettings, clock: Clock) -> "_Known":
        digest = bytes.fromhex(key[7:]) if key.startswith("sha256:") else hashlib.sha256(key.encode()).digest()
        # Who reads the configuration reads a digest, and must not become its key's holder by it.
        salt = api.session_secret or (_OF_THIS_PROCESS if key.startswith("sha256:") else "")
        secret = hmac.digest(digest, b"headwater session" + salt.encode(), "sha256")
        return cls(
            id=hmac.digest(digest, b"headwater key", "sha256").hex()[:16],
            digest=digest,
            scopes=EVERYTHING if "admin" in scopes else scopes,
            signer=_Signer(secret, clock),
        )

    def session(self) -> str:
        return self.signer.sign(self.id).decode()


class _Signer(TimestampSigner):
    def __init__(self, secret: bytes, clock: Clock) -> None:
        super().__init__(secret, digest_method=hashlib.sha256, key_derivation="hmac")
        self._clock = clock

    def get_timestamp(self) -> int:
        return self._clock() // 1000


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, ErrorBody("unauthorized", message), {"WWW-Authenticate": "Bearer"})
