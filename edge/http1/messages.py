"""What a handler sees and returns: Request, Response, Headers. The same types carry HTTP/1.1 and HTTP/2."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TypeAlias, overload

from edge.http1.streams import BodyTooLarge, ByteStream, ClosedEarly
from edge.record import record

__all__ = ["BodyTooLarge", "ByteStream", "ClosedEarly", "Handler", "Headers", "Limits", "Request", "Response"]

NO_LIMIT = -1


@record
class Limits:
    """What a server accepts; defaults are daprd's.

    read_buffer_bytes: longest request head, `SLACK` on top as Go's server grants. max_body_bytes: <= 0 means no limit.
    header_timeout: seconds until the head is complete. grace: seconds that requests in flight get on close.
    """

    read_buffer_bytes: int = 4 << 10
    max_body_bytes: int = 4 << 20
    header_timeout: float = 10.0
    grace: float = 5.0


class Headers:
    """An immutable multi-map of lower-case names, in the order received.

    Bytes beyond ASCII are UTF-8; those that are not are kept as surrogate escapes, so a header passes through unchanged.
    """

    __slots__ = ("_first", "_items")

    def __init__(self, items: Sequence[tuple[str, str]] = ()) -> None:
        """items: names in lower case."""
        self._items = items
        self._first: dict[str, str] | None = None

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of that (lower-case) name."""
        first = self._first
        if first is None:
            first = self._first = dict(reversed(self._items))
        return first.get(name, default)

    def get_all(self, name: str) -> list[str]:
        """All values of that name, in order."""
        return [value for key, value in self._items if key == name]

    def repeated(self) -> bool:
        """Whether any name occurs more than once."""
        self.get("")
        return len(self._first or ()) != len(self._items)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Headers({[name for name, _ in self._items]})"  # names only: values may be tokens


NO_HEADERS = Headers()


class Request:
    """One request, its head complete.

    method: as sent. target: raw `path?query`, printable ASCII (other bytes percent-encoded); path, query: its halves, still
    escaped, query without `?`. version: "1.1", "1.0" or "2". peer: (host, port) of the caller, None on a unix socket.
    data: the whole body if it is already here and within `max_body_bytes` (b"" when there is none), else None: then await `body()`.
    incoming: where such a body comes from, for servers to set.
    """

    __slots__ = ("data", "headers", "incoming", "max_body_bytes", "method", "path", "peer", "query", "target", "version")

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers = NO_HEADERS,
        data: bytes | None = b"",
        incoming: ByteStream | None = None,
        peer: tuple[str, int] | None = None,
        version: str = "1.1",
        max_body_bytes: int = NO_LIMIT,
    ) -> None:
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.data = data
        self.peer = peer
        self.version = version
        self.max_body_bytes = max_body_bytes
        self.incoming = incoming

    async def body(self, limit: int | None = None) -> bytes:
        """The whole body, once. limit: bytes allowed (None: the server's `max_body_bytes`; <= 0: no limit).

        Raises BodyTooLarge, and ClosedEarly when the client goes away in the middle.
        """
        limit = self.max_body_bytes if limit is None else limit
        if self.data is None and self.incoming is not None:
            return await self.incoming.read(limit)
        data = self.data or b""
        if 0 < limit < len(data):
            raise BodyTooLarge
        return data

    async def stream(self, limit: int | None = None) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive; reading slowly slows the sender. Limit and errors as in `body()`."""
        limit = self.max_body_bytes if limit is None else limit
        if self.data is None and self.incoming is not None:
            size = 0
            async for piece in self.incoming:
                size += len(piece)
                if 0 < limit < size:
                    raise BodyTooLarge
                yield piece
        elif self.data:
            yield await self.body(limit)

    def __repr__(self) -> str:
        return f"Request({self.method} {self.path})"


class Response:
    """An answer. headers: names in any case; `content-length`, `date`, `connection` and framing are the server's to add.

    body: bytes go out with Content-Length; an async iterator goes out chunked, each piece at once, unless headers give the length.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Sequence[tuple[str, str]] = (), body: bytes | AsyncIterator[bytes] = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"Response({self.status})"


# A Response is sent at once; an awaitable is run in a task that is cancelled when the client goes away.
Handler: TypeAlias = Callable[[Request], "Response | Awaitable[Response]"]
