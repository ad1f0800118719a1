"""Call an HTTP app over HTTP/2 with prior knowledge (`--app-protocol h2c`): the same promises as `edge.http1.client.Client`."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Sequence

from edge.http1.client_response import ClientResponse, ConnectError, ResponseTimeout
from edge.http1.messages import Headers
from edge.http1.streams import ByteStream, ClosedEarly
from edge.rpc.client import Channel, ClientConnection, Target
from edge.rpc.frames import H2
from edge.rpc.hpack import Field
from edge.rpc.request import HOP_BY_HOP
from edge.rpc.status import RpcError
from edge.rpc.stream import Stream

ATTEMPTS = 3  # of a request that servers refused unseen
HTTP1_AGENT, HTTP2_AGENT = "Go-http-client/1.1", "Go-http-client/2.0"


class Refused(Exception):
    """The server did not look at the request: it may be sent again."""


class Http2Client:
    """Calls one server over one shared connection that opens on demand."""

    def __init__(self, host: str, port: int) -> None:
        target = Target(host, port)
        self.address = target.address
        self._channel = Channel(target)

    async def request(
        self,
        method: str,
        target: str,
        headers: Sequence[Field] = (),
        body: bytes | AsyncIterator[bytes] = b"",
        timeout: float | None = None,
    ) -> ClientResponse:
        """Send one request and return when the answer's head is here.

        headers: names in any case, `Host` among them. timeout: seconds for connect + head, None = no limit.
        Raises ConnectError, ClosedEarly, ResponseTimeout, and what `body` raises.
        """
        try:
            async with asyncio.timeout(timeout):
                for _ in range(ATTEMPTS if isinstance(body, bytes) else 1):
                    try:
                        return await self._attempt(method, target, headers, body)
                    except Refused:
                        continue
        except TimeoutError:
            raise ResponseTimeout("context deadline exceeded") from None
        raise ClosedEarly("the server refuses requests")

    async def _attempt(self, method: str, target: str, headers: Sequence[Field], body: bytes | AsyncIterator[bytes]) -> ClientResponse:
        try:
            connection = await self._channel.connection()
        except RpcError as error:
            raise self._refused(error) from error
        exchange = Fetch(connection, connection.next_id)
        exchange.start(_fields(method, target, headers, self.address), body)
        try:
            return await exchange.head
        except asyncio.CancelledError:
            exchange.abort()
            raise

    def _refused(self, error: RpcError) -> ConnectError:
        cause = error.__cause__
        if isinstance(cause, TimeoutError):
            refused = ConnectError(errno.ETIMEDOUT, "i/o timeout")
        elif isinstance(cause, OSError) and cause.errno is not None:
            refused = ConnectError(cause.errno, cause.strerror or "")
        else:
            refused = ConnectError(str(cause or error))
        refused.address = self.address
        return refused

    async def close(self) -> None:
        """End the connection; requests under way fail."""
        await self._channel.close()


class Fetch(Stream):
    """One request and its answer. head: the answer, when its head is here."""

    connection: ClientConnection
    _body: ByteStream | None = None
    _sending: asyncio.Task[None] | None = None
    _paused = False

    def __init__(self, connection: ClientConnection, stream_id: int) -> None:
        super().__init__(connection, stream_id)
        self.head: asyncio.Future[ClientResponse] = connection.loop.create_future()

    def start(self, fields: Sequence[Field], body: bytes | AsyncIterator[bytes]) -> None:
        """Send the request; a streamed body goes on in the background."""
        connection = self.connection
        connection.streams[self.id] = self
        connection.next_id += 2
        self.send_headers(tuple(fields), end=body == b"")
        if isinstance(body, bytes):
            if body:
                self.send_data(body, end=True)
        else:
            self._sending = connection.loop.create_task(self._send(body), name="http2.request")

    async def _send(self, body: AsyncIterator[bytes]) -> None:
        try:
            async for piece in body:
                self.send_data(piece)
                if self.queued:
                    await self.writable()
                if self.local_closed:
                    return
        except Exception as error:
            self._broken(error)
            self.connection.reset(self, H2.CANCEL)
        else:
            self.send_data(b"", end=True)

    def abort(self) -> None:
        """Nobody wants the rest of the answer."""
        self.connection.reset(self, H2.CANCEL)
        self._gone()

    # --- the answer
    def headers(self, fields: list[Field], end: bool) -> None:
        if self.head.done():  # trailers
            return self.data(b"", True, 0) if end else None
        status = next((value for name, value in fields if name == ":status"), "")
        if status[:1] == "1" and not end:
            return None
        if not (status.isascii() and status.isdigit()):
            self.connection.reset(self, H2.PROTOCOL_ERROR)
            return self._broken(ClosedEarly("malformed HTTP response"))
        headers = Headers([field for field in fields if field[0][:1] != ":"])
        data = b"" if end else None
        answer = ClientResponse(int(status), "", headers, self.abort, data)
        if not end:
            self._body = ByteStream(self._hold)
            answer.attach(self._body)
        self.head.set_result(answer)
        return self._finish() if end else None

    def data(self, payload: bytes, end: bool, size: int) -> None:
        body = self._body
        if body is None:
            return
        if payload:
            body.feed(payload)
        if end:
            body.finish()
            self._finish()
        else:
            self.grant(size, later=self._paused)

    def _hold(self, full: bool) -> None:
        """The reader is slower than the server."""
        self._paused = full
        if not full:
            self.settle()

    def _finish(self) -> None:
        """The server said all; what of the request it has not read it does not want."""
        if self.local_closed:
            self.connection.forget(self)
        else:
            self.connection.reset(self, H2.NO_ERROR)
            self._gone()

    def reset_by(self, code: int) -> None:
        self._broken(Refused() if code == H2.REFUSED_STREAM and not self.head.done() else ClosedEarly("stream error"))
        self._gone()

    def lost(self, error: Exception | None) -> None:
        self._broken(ClosedEarly("the connection ended"))
        self._gone()

    def _broken(self, error: Exception) -> None:
        if not self.head.done():
            self.head.set_exception(error)
        elif self._body is not None:
            self._body.fail(error)

    def _gone(self) -> None:
        super()._gone()
        if self._sending is not None and self._sending is not asyncio.current_task():
            self._sending.cancel()


def _fields(method: str, target: str, headers: Sequence[Field], address: str) -> list[Field]:
    """The header list, as Go's HTTP/2 client sends it."""
    authority, rest = address, []
    for name, value in headers:
        lower = name.lower()
        if lower == "host":
            authority = value
        elif lower == "user-agent" and value == HTTP1_AGENT:
            rest.append((lower, HTTP2_AGENT))
        elif lower not in HOP_BY_HOP:
            rest.append((lower, value))
    return [(":method", method), (":scheme", "http"), (":authority", authority), (":path", target), *rest]
