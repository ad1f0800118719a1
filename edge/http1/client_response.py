"""What a call to an app brings back, whatever carried it."""

from __future__ import annotations

from collections.abc import Callable

from edge.http1.messages import Headers
from edge.http1.streams import BodyTooLarge, ByteStream


class ConnectError(OSError):
    """No connection: errno tells why (ECONNREFUSED, ENOENT, ETIMEDOUT…); address: "127.0.0.1:3000" or the socket's path."""

    address: str = ""


class BadResponse(ConnectionError):
    """The peer's answer is not HTTP/1.1, or its head is longer than the limit."""


class ResponseTimeout(TimeoutError):
    """The answer's head did not come in time."""


class ClientResponse:
    """An answer, its head complete. data: the whole body if it came with the head, else None.

    Read the body to its end or `close()`: until then the connection is not free for others.
    """

    __slots__ = ("_abort", "_body", "data", "headers", "reason", "status")

    def __init__(
        self,
        status: int,
        reason: str,
        headers: Headers,
        abort: Callable[[], None],
        data: bytes | None = None,
        body: ByteStream | None = None,
    ) -> None:
        """abort: closes the connection before the body's end. data or body: all of the body, or where it comes through."""
        self.status = status
        self.reason = reason
        self.headers = headers
        self.data = data
        self._body = body
        self._abort = abort

    async def read(self, limit: int = -1) -> bytes:
        """The whole body. limit: bytes allowed, <= 0 means no limit. Raises BodyTooLarge (the connection closes), ClosedEarly."""
        if self.data is not None:
            if 0 < limit < len(self.data):
                raise BodyTooLarge
            return self.data
        try:
            return await self.stream().read(limit)
        except BaseException:
            self.close()
            raise

    def stream(self) -> ByteStream:
        """The body in pieces, once; reading slowly slows the sender. Its iteration raises ClosedEarly."""
        if self._body is None:
            self._body = ByteStream()
            if self.data:
                self._body.feed(self.data)
            self._body.finish()
        return self._body

    def attach(self, body: ByteStream) -> None:
        """The body comes through `body`; for what made this object."""
        self._body = body

    def close(self) -> None:
        """Give up on the rest of the body."""
        if self._body is not None and not self._body.ended:
            self._abort()

    def __repr__(self) -> str:
        return f"ClientResponse({self.status})"
