"""`middleware.http.oauth2clientcredentials`: calls go on with a token that the server issued to this client, kept until it expires.

Source: components-contrib middleware/http/oauth2clientcredentials @1.18.4; differs: one token is fetched at a time, and a call that
cannot get one is answered 502 (there: an empty 200).
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar
from urllib.parse import parse_qsl, unquote

from components.middleware._oauth2 import TokenEndpoint, header_of, path_filter
from components.middleware._request import changed, text
from edge.component import Context, Feature
from edge.http1.messages import BodyTooLarge, Request, Response
from edge.record import record
from edge.spec import meta

log = logging.getLogger("dapr.contrib")
EARLY = 10.0  # as Go's oauth2: a token that expires so soon is not used any more


@record
class Fields:
    """Fields of the component."""

    client_id: str = meta(name="clientID", doc="The client's id.")
    client_secret: str = meta(doc="The client's secret.", sensitive=True)
    scopes: str = meta(doc="Scopes to ask for, comma separated.")
    token_url: str = meta(name="tokenURL", doc="The server's token endpoint.", example="https://id.example.com/oauth/token")
    header_name: str = meta(doc="Header that carries the token.", example="authorization")
    endpoint_params_query: str = meta("", doc="More parameters of the token request, as a query string.")
    auth_style: int = meta(0, doc="How the client identifies itself: 0 = either, 1 = parameters, 2 = HTTP Basic.", choices=(0, 1, 2))
    path_filter: str = meta("", doc="Regular expression; calls whose path it does not match go on without a token.")


class Middleware:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._filter = re.compile("")
        self._endpoint = TokenEndpoint(metadata.token_url, metadata.client_id, metadata.client_secret, metadata.auth_style)
        pairs = [("grant_type", "client_credentials"), ("scope", " ".join(metadata.scopes.split(",")))]
        self._pairs = [*pairs, *parse_qsl(metadata.endpoint_params_query, keep_blank_values=True)]
        self._token, self._until = "", 0.0
        self._fetching = asyncio.Lock()

    async def open(self) -> None:
        """Raises Invalid for a filter that is no regular expression."""
        self._filter = path_filter(self.metadata.path_filter)

    async def close(self) -> None:
        """Nothing to do."""

    async def handle(self, request: Request, next_: Callable[[Request], Awaitable[Response]]) -> Response:
        if self._filter.search(unquote(request.path)) is None:
            return await next_(request)
        try:
            token = await self._current()
        except (OSError, ValueError, TimeoutError, BodyTooLarge) as error:
            log.error("Error acquiring token: %s", error or "no answer in time")
            return text(502, "Bad Gateway")
        return await next_(changed(request, headers=[*request.headers, (self.metadata.header_name.lower(), token)]))

    async def _current(self) -> str:
        """The header's value. Raises OSError, ValueError, TimeoutError."""
        async with self._fetching:
            if time.monotonic() >= self._until:
                found = await self._endpoint.token(self._pairs)
                seconds = float(found.get("expires_in") or 0)
                self._token = header_of(found)
                self._until = time.monotonic() + seconds - EARLY if seconds else float("inf")
            return self._token
