"""`middleware.http.ratelimit`: so many requests a second for each caller's address and path; what is more is answered 429.

Source: components-contrib middleware/http/ratelimit @1.18.4 with its library tollbooth (token bucket, header names, text).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import ClassVar

from components.middleware._request import text
from edge.component import Context, Feature
from edge.errors import Invalid
from edge.http1.messages import Request, Response
from edge.record import record
from edge.spec import meta

MOST_BUCKETS = 10_000
REFUSED = "You have reached maximum request limit."


@record
class Fields:
    """Fields of the component."""

    max_requests_per_second: float = meta(100.0, doc="Requests a second from one address to one path; a burst of that size is allowed.")


class Bucket:
    """Tokens of one caller. full: as many as it holds; rate: how many come back in a second."""

    __slots__ = ("_at", "_full", "_rate", "tokens")

    def __init__(self, full: float, rate: float, now: float) -> None:
        self._full, self._rate, self._at, self.tokens = full, rate, now, full

    def take(self, now: float) -> bool:
        self.tokens = min(self._full, self.tokens + (now - self._at) * self._rate)
        self._at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Middleware:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._buckets: dict[tuple[str, str], Bucket] = {}

    async def open(self) -> None:
        """Raises Invalid for a rate that is not positive."""
        if self.metadata.max_requests_per_second <= 0:
            raise Invalid("metadata property maxRequestsPerSecond must be a positive value")

    async def close(self) -> None:
        """Nothing to do."""

    async def handle(self, request: Request, next_: Callable[[Request], Awaitable[Response]]) -> Response:
        bucket = self._bucket(request.peer[0] if request.peer else "", request.path)
        allowed = bucket.take(time.monotonic())
        reply = await next_(request) if allowed else text(429, REFUSED)
        return Response(reply.status, (*reply.headers, *self._fields(request, bucket)), reply.body)

    def _bucket(self, address: str, path: str) -> Bucket:
        bucket = self._buckets.get((address, path))
        if bucket is None:
            if len(self._buckets) >= MOST_BUCKETS:
                self._buckets.clear()  # memory is bounded; callers begin with full buckets anew
            rate = self.metadata.max_requests_per_second
            bucket = self._buckets[address, path] = Bucket(max(1, int(rate)), rate, time.monotonic())
        return bucket

    def _fields(self, request: Request, bucket: Bucket) -> list[tuple[str, str]]:
        rate, left = self.metadata.max_requests_per_second, max(0, int(bucket.tokens))
        found = [("ratelimit-limit", str(int(rate + 0.5))), ("ratelimit-remaining", str(left)), ("ratelimit-reset", "1")]
        found += [("x-rate-limit-duration", "1"), ("x-rate-limit-limit", f"{rate:.2f}")]
        forwarded = request.headers.get("x-forwarded-for")
        if forwarded:
            found.append(("x-rate-limit-request-forwarded-for", forwarded))
        if request.peer:
            found.append(("x-rate-limit-request-remote-addr", f"{request.peer[0]}:{request.peer[1]}"))
        return found
