"""`middleware.http.routerchecker`: only targets that a rule matches go on; any other is answered 400 `invalid router`.

Source: components-contrib middleware/http/routerchecker @1.18.4.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import ClassVar

from components.middleware._request import text
from edge.component import Context, Feature
from edge.errors import Invalid
from edge.http1.messages import Request, Response
from edge.record import record
from edge.spec import meta


@record
class Fields:
    """Fields of the component."""

    rule: str = meta("", doc="Regular expression over the request's target as sent, query included.", example="^/v1.0/(state|publish)/")


class Middleware:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._rule = re.compile("")

    async def open(self) -> None:
        """Raises Invalid for a rule that is no regular expression."""
        try:
            self._rule = re.compile(self.metadata.rule)
        except re.error as error:
            raise Invalid(f"failed to compile rule regexp: {error}") from None

    async def close(self) -> None:
        """Nothing to do."""

    async def handle(self, request: Request, next_: Callable[[Request], Awaitable[Response]]) -> Response:
        if self._rule.search(request.target) is None:
            return text(400, "invalid router")
        return await next_(request)
