"""`middleware.http.uppercase`: the request's body in capital letters; Dapr's sample, for tests of a pipeline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar

from components.middleware._request import changed
from edge.component import Context, Feature
from edge.http1.messages import Request, Response
from edge.record import record


@record
class Fields:
    """It has none."""


class Middleware:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def handle(self, request: Request, next_: Callable[[Request], Awaitable[Response]]) -> Response:
        """Bytes that are no UTF-8 stay as they are."""
        body = request.data if request.data is not None else await request.body()
        upper = body.decode("utf-8", "surrogateescape").upper().encode("utf-8", "surrogateescape")
        headers = [(name, str(len(upper)) if name == "content-length" else value) for name, value in request.headers]
        return await next_(changed(request, headers=headers, data=upper))
