"""`middleware.http.bearer`: only calls with a token (JWT) of an issuer for an audience go on; any other is answered 401.

Source: components-contrib middleware/http/bearer @1.18.4 (clock skew, `kid` needed, asymmetric keys only); differs: an issuer that can't
be reached at start is no failure, calls are refused with 500 until its keys are there.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import jwt

from components.middleware._fetch import fetch
from components.middleware._request import text
from edge.component import Context, Feature
from edge.errors import Invalid
from edge.http1.messages import BodyTooLarge, Request, Response
from edge.record import record
from edge.spec import meta

log = logging.getLogger("dapr.contrib")
SKEW, REFRESH, FIRST_PAUSE, SHORTEST = 300, 600.0, 1.0, 10
ALGORITHMS = {
    "RSA": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    "EC": ["ES256", "ES384", "ES512", "ES256K"],
    "OKP": ["EdDSA"],
}


@record
class Fields:
    """Fields of the component."""

    issuer: str = meta(doc="Issuer of the tokens (`iss`), a URL.", aliases=("issuerURL",), example="https://id.example.com")
    audience: str = meta(doc="Whom tokens must be for (`aud`).", aliases=("clientID",))
    jwks_url: str = meta("", name="jwksURL", doc="Where the issuer's keys are; empty = found through the issuer's OpenID document.")


class Middleware:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata, self._context = metadata, context
        self._keys: dict[str, jwt.PyJWK] = {}
        self._why = "its keys were not read yet"
        self._task: asyncio.Task[None] | None = None

    def unhealthy(self) -> str | None:
        """Why no token can be checked now."""
        return self._why or None

    async def open(self) -> None:
        """Read the issuer's keys, and again every ten minutes. Raises Invalid for fields that are empty."""
        for name, value in (("issuer", self.metadata.issuer), ("audience", self.metadata.audience)):
            if not value:
                raise Invalid(f"metadata property '{name}' is required")
        await self._refresh(self._context.init_timeout / 2)
        self._task = self._context.tasks.spawn(f"bearer[{self._context.name}]", self._keep_fresh)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def handle(self, request: Request, next_: Callable[[Request], Awaitable[Response]]) -> Response:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or len(token) < SHORTEST:
            return text(401, "Unauthorized")
        if not self._keys:
            log.error("no keys of the issuer %s: %s", self.metadata.issuer, self._why)
            return text(500, "Internal Server Error")
        return await next_(request) if self._valid(token) else text(401, "Unauthorized")

    def _valid(self, token: str) -> bool:
        try:
            key = self._keys.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                return False
            fields = self.metadata
            jwt.decode(token, key.key, ALGORITHMS[key.key_type or ""], audience=fields.audience, issuer=fields.issuer, leeway=SKEW)
        except (jwt.PyJWTError, ValueError, TypeError):
            return False
        return True

    # --- keys
    async def _keep_fresh(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause if self._why else REFRESH)
            await self._refresh(30.0)
            pause = min(pause * 2, REFRESH) if self._why else FIRST_PAUSE

    async def _refresh(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                found = await self._fetch_json(self.metadata.jwks_url or await self._discover())
            self._keys, self._why = _usable(found), ""
        except (OSError, ValueError, TimeoutError, BodyTooLarge, jwt.PyJWTError) as error:
            why = f"failed to fetch JWKS: {error or 'no answer in time'}"
            if why != self._why:
                log.warning("Error while refreshing JWKS cache of %s: %s", self._context.name, why)
            self._why = why

    async def _discover(self) -> str:
        """The address of the keys, from the issuer's OpenID Configuration document. Raises OSError, ValueError."""
        found = await self._fetch_json(self.metadata.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != self.metadata.issuer:
            raise ValueError("the OpenID Configuration document is of another issuer")
        address = found.get("jwks_uri")
        if not isinstance(address, str):
            raise ValueError("the OpenID Configuration document has no jwks_uri")
        return address

    @staticmethod
    async def _fetch_json(url: str) -> dict[str, Any]:
        status, body = await fetch(url)
        found = json.loads(body) if status == 200 else None
        if not isinstance(found, dict):
            raise ValueError(f"{url} answered {status}")
        return found


def _usable(found: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """The set's public keys by their id."""
    keys = jwt.PyJWKSet.from_dict(dict(found)).keys
    return {key.key_id: key for key in keys if key.key_id and key.key_type in ALGORITHMS}
