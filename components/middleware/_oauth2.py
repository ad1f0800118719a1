"""The token endpoint of an OAuth 2 server, as Go's oauth2 package asks it (RFC 6749 §4.1.3, §4.4.2, §2.3.1), and which calls need it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote_plus, urlencode

from components.middleware._fetch import fetch
from edge.errors import Invalid
from edge.record import record

AUTO, IN_PARAMS, IN_HEADER = 0, 1, 2
FORM = ("Content-Type", "application/x-www-form-urlencoded")


@record
class TokenEndpoint:
    """style: how the client identifies itself; AUTO tries HTTP Basic, then parameters."""

    url: str
    client_id: str
    client_secret: str
    style: int = AUTO

    def __repr__(self) -> str:
        return f"TokenEndpoint({self.url})"

    async def token(self, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """The server's answer; it has an `access_token`. Raises OSError, TimeoutError, BodyTooLarge, ValueError."""
        status, body = await self._ask(pairs, IN_HEADER if self.style == AUTO else self.style)
        if self.style == AUTO and status >= 400:
            status, body = await self._ask(pairs, IN_PARAMS)
        found = json.loads(body) if 200 <= status <= 299 else None
        if not isinstance(found, dict) or not found.get("access_token"):
            raise ValueError(f"oauth2: cannot fetch token: {self.url} answered {status}")
        return found

    async def _ask(self, pairs: Sequence[tuple[str, str]], style: int) -> tuple[int, bytes]:
        sent, headers = list(pairs), [FORM]
        if style == IN_HEADER:
            words = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
            headers.append(("Authorization", f"Basic {base64.b64encode(words.encode()).decode()}"))
        else:
            sent += [("client_id", self.client_id), ("client_secret", self.client_secret)]
        return await fetch(self.url, "POST", headers, urlencode(sent).encode())


def header_of(found: dict[str, Any]) -> str:
    """Type and token, the usual types spelled as Go does."""
    given = str(found.get("token_type") or "Bearer")
    return f"{ {'bearer': 'Bearer', 'mac': 'MAC', 'basic': 'Basic'}.get(given.lower(), given) } {found['access_token']}"


def path_filter(text: str) -> re.Pattern[str]:
    """Which paths need a token. Raises Invalid."""
    try:
        return re.compile(text)
    except re.error as error:
        raise Invalid(f"metadata errors: Parameter 'pathFilter' is not a valid regex: {error}") from None
