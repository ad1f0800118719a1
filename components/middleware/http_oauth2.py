"""`middleware.http.oauth2`: callers are sent to log in (authorization code flow, RFC 6749 §4.1), then their calls carry the token.

A session is a cookie here and an entry in memory, for two hours; a restart asks again. Source: components-contrib middleware/http/oauth2
@1.18.4; differs: the cookie is `SameSite=Lax` and never `Max-Age=0`, a token that expired is asked for anew, `forceHTTPS` names the host.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from itertools import islice
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlencode

from components.middleware._oauth2 import TokenEndpoint, header_of, path_filter
from components.middleware._request import changed, text
from edge.component import Context, Feature
from edge.http1.messages import BodyTooLarge, Request, Response
from edge.record import record
from edge.spec import meta

log = logging.getLogger("dapr.contrib")
COOKIE = "gosessionsid"
LIFE = 2 * 3600.0
MOST = 10_000


@record
class Fields:
    """Fields of the component."""

    client_id: str = meta(name="clientID", doc="The client's id.")
    client_secret: str = meta(doc="The client's secret.", sensitive=True)
    scopes: str = meta("", doc="Scopes to ask for, comma separated.")
    auth_url: str = meta(name="authURL", doc="Where callers log in.", example="https://id.example.com/oauth/authorize")
    token_url: str = meta(name="tokenURL", doc="The server's token endpoint.", example="https://id.example.com/oauth/token")
    auth_header_name: str = meta(doc="Header that carries the token.", example="authorization")
    redirect_url: str = meta("", name="redirectURL", doc="Where the server sends callers back to: a path of this API.")
    force_https: bool = meta(False, name="forceHTTPS", doc="After the login callers go back by https.")
    path_filter: str = meta("", doc="Regular expression; calls whose path it does not match go on without a login.")


@dataclass(slots=True)
class Session:
    """One caller. state: of the login under way. target: what was called before it. header: the token, "" until then. until: monotonic."""

    state: str
    target: str
    until: float
    header: str = ""


class Middleware:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._filter = re.compile("")
        self._endpoint = TokenEndpoint(metadata.token_url, metadata.client_id, metadata.client_secret)
        self._sessions: dict[str, Session] = {}

    async def open(self) -> None:
        """Raises Invalid for a filter that is no regular expression."""
        self._filter = path_filter(self.metadata.path_filter)

    async def close(self) -> None:
        self._sessions.clear()

    async def handle(self, request: Request, next_: Callable[[Request], Awaitable[Response]]) -> Response:
        if self._filter.search(unquote(request.path)) is None:
            return await next_(request)
        session = self._session(request)
        if session is not None and session.header:
            return await next_(changed(request, headers=[*request.headers, (self.metadata.auth_header_name.lower(), session.header)]))
        asked = parse_qs(request.query)
        if state := asked.get("state", [""])[0]:
            return await self._returned(request, session, state, asked.get("code", [""])[0])
        return self._login(request, session)

    def _session(self, request: Request) -> Session | None:
        """The caller's session, while it counts."""
        for line in request.headers.get_all("cookie"):
            for pair in line.split(";"):
                name, _, value = pair.strip().partition("=")
                found = self._sessions.get(value) if name == COOKIE else None
                if found is not None and found.until > time.monotonic():
                    return found
        return None

    def _login(self, request: Request, session: Session | None) -> Response:
        """Off to the server; what was called is remembered."""
        state, headers = str(uuid.uuid4()), []
        if session is None:
            id_ = secrets.token_urlsafe(33)
            self._make_room()
            session = self._sessions[id_] = Session(state, request.target, time.monotonic() + LIFE)
            expires = formatdate(time.time() + LIFE, usegmt=True)
            headers.append(("Set-Cookie", f"{COOKIE}={id_}; Path=/; Expires={expires}; HttpOnly; SameSite=Lax"))
        session.state, session.target = state, request.target
        fields = self.metadata
        query = {"access_type": "offline", "client_id": fields.client_id, "redirect_uri": fields.redirect_url, "response_type": "code"}
        query |= {"scope": " ".join(fields.scopes.split(",")), "state": state}
        location = fields.auth_url + ("&" if "?" in fields.auth_url else "?") + urlencode({k: v for k, v in query.items() if v})
        return Response(302, (("Location", location), *headers))

    def _make_room(self) -> None:
        """The oldest sessions go: those that are over, and those beyond what is kept."""
        for id_, session in list(islice(self._sessions.items(), 2)):
            if session.until <= time.monotonic() or len(self._sessions) >= MOST:
                del self._sessions[id_]

    async def _returned(self, request: Request, session: Session | None, state: str, code: str) -> Response:
        """Back from the server with a code for a token."""
        if session is None:
            log.error("a caller came back from the login without its session: the cookie is missing, or edged was started since")
            return text(500, "Internal Server Error")
        if not hmac.compare_digest(state.encode(), session.state.encode()):
            return text(400, "invalid state")
        if not code:
            return text(400, "code not found")
        back = self.metadata.redirect_url
        pairs = [("code", code), ("grant_type", "authorization_code"), *([("redirect_uri", back)] if back else ())]
        try:
            found = await self._endpoint.token(pairs)
            lasts = float(found.get("expires_in") or LIFE)
        except (OSError, ValueError, TypeError, TimeoutError, BodyTooLarge) as error:
            log.error("Failed to exchange token: %s", error or "no answer in time")
            return text(500, "Internal Server Error")
        session.header = header_of(found)
        session.until = min(session.until, time.monotonic() + lasts)
        host = f"https://{request.headers.get('host', '')}" if self.metadata.force_https else ""
        path = "/" + session.target.lstrip("/\\").replace("\\", "%5C")  # `//host` would lead elsewhere
        return Response(302, (("Location", host + path),))
