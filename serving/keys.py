"""API keys: who may do what."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from serving.errors import ApiError, ErrorBody
from serving.settings import ApiKey, Scope

_header = APIKeyHeader(name="X-API-Key", auto_error=False)
_bearer = HTTPBearer(auto_error=False)


class Keys:
    """The configured keys; without any, everyone may do everything (settings allow that on loopback only)."""

    def __init__(self, keys: list[ApiKey]) -> None:
        self._scopes = [(_digest(key.key), key.scopes) for key in keys]

    def needs(self, scope: Scope) -> Callable[..., Awaitable[None]]:
        """Return the dependency that lets only those in whose key has `scope`, or is an admin's."""

        async def check(
            header: Annotated[str | None, Depends(_header)],
            bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
        ) -> None:
            if not self._scopes:
                return
            given = header or (bearer.credentials if bearer is not None else None)
            if given is None:
                body = ErrorBody("unauthorized", "expected a key in X-API-Key or in Authorization: Bearer, got none")
                raise ApiError(401, body, {"WWW-Authenticate": "Bearer"})
            scopes = self._scopes_of(given)
            if not scopes:
                raise ApiError(401, ErrorBody("unauthorized", "unknown key (api.keys)"), {"WWW-Authenticate": "Bearer"})
            if scope not in scopes and "admin" not in scopes:
                raise ApiError(403, ErrorBody("forbidden", f"this key has no scope '{scope}' (api.keys)", bound=scope))

        return check

    def _scopes_of(self, given: str) -> frozenset[str]:
        digest = hashlib.sha256(given.encode()).digest()
        found: frozenset[str] = frozenset()
        # Every key is compared, each in constant time: how long it takes tells nothing of how near a guess was.
        for known, scopes in self._scopes:
            if hmac.compare_digest(known, digest):
                found = frozenset(scopes)
        return found


def _digest(key: str) -> bytes:
    return bytes.fromhex(key[7:]) if key.startswith("sha256:") else hashlib.sha256(key.encode()).digest()
