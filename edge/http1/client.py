"""Call an app over HTTP/1.1: kept connections, streaming both ways, no redirects."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence

from edge.http1.messages import ClosedEarly, Headers
from edge.http1.streams import ByteStream

__all__ = ["Client", "ClientResponse", "ClosedEarly", "ConnectError", "ResponseTimeout"]


class ConnectError(OSError):
    """No connection: errno tells why (ECONNREFUSED, ENOENT, ETIMEDOUT…); address: "127.0.0.1:3000" or the socket's path."""

    address: str = ""


class ResponseTimeout(TimeoutError):
    """The answer's head did not come within `timeout`."""


class ClientResponse:
    """The app's answer, its head complete; `data` is the body if it is already here, else None."""

    status: int
    reason: str
    headers: Headers
    data: bytes | None

    async def read(self, limit: int = -1) -> bytes:
        """The whole body. Raises BodyTooLarge, ClosedEarly."""
        raise NotImplementedError

    def stream(self) -> ByteStream:
        """The body in pieces; when it is exhausted the connection returns to the pool."""
        raise NotImplementedError

    def close(self) -> None:
        """Give up on the rest of the body (closes the connection unless the body is complete)."""


class Client:
    """Calls one server. Cheap to create: connections open on demand."""

    def __init__(
        self,
        host: str,
        port: int,
        ssl: ssl.SSLContext | None = None,
        unix: str | None = None,
        max_connections: int = 1024,
        max_head_bytes: int = 64 << 10,
    ) -> None: ...

    async def request(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | AsyncIterator[bytes] = b"",
        timeout: float | None = None,
    ) -> ClientResponse:
        """Send one request and return when the answer's head is here.

        headers: `host`, `content-length` / `transfer-encoding` are added unless given. timeout: seconds for connect + head
        (None: no limit); the body's reader sets its own. Redirects are returned as they are.
        Raises ConnectError, ClosedEarly, ResponseTimeout.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Close idle connections; those in use close when their body ends."""
