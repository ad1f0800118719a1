"""One request over HTTP/2 and its answer, for a handler of edge.http1."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import TYPE_CHECKING

from edge import eager
from edge.http1.encode import CONTROL, has_body, http_date
from edge.http1.messages import ByteStream, ClosedEarly, Headers, Request, Response
from edge.rpc.frames import H2, StreamFault
from edge.rpc.hpack import Field
from edge.rpc.request import HOP_BY_HOP, RequestHead, check_fields
from edge.rpc.stream import Stream

if TYPE_CHECKING:
    from edge.rpc.http2 import HttpConnection

log = logging.getLogger("dapr.runtime.http")
COLLECT = 64 << 10  # a body up to this is handed over whole,
PATIENCE = 0.05  # unless it takes longer than this (seconds): then as it comes
CHUNKED: tuple[Field, ...] = (("transfer-encoding", "chunked"),)


class Exchange(Stream):
    """One request and its answer."""

    connection: HttpConnection
    _request: Request | None = None
    _collected: list[bytes] | None = None
    _size = 0
    _body: ByteStream | None = None
    _paused = False
    _expects = False
    _pending: asyncio.Future[Response] | asyncio.Future[None] | None = None

    def __init__(self, connection: HttpConnection, stream_id: int, method: str) -> None:
        super().__init__(connection, stream_id)
        self._method = method

    # --- the request
    def begin(self, head: RequestHead, end: bool) -> None:
        """Call the handler now, or when the body is here, or when it proves long."""
        connection = self.connection
        self._expects = any(name == "expect" and "100-continue" in value.lower() for name, value in head.fields)
        headers = Headers(_as_http1(head, CHUNKED if not end and head.length < 0 else (), expects=self._expects))
        target = CONTROL.sub(lambda match: f"%{ord(match.group()):02X}", head.path)
        limit = connection.http_limits.max_body_bytes
        request = Request(head.method, target, headers, b"", None, connection.peer, "2", limit)
        if end:
            return self.handle(request)
        self._request = request
        if self._expects or head.length > COLLECT or 0 < limit < head.length:
            self._stream_body()
        else:
            self._collected = []
            connection.loop.call_later(PATIENCE, self._stop_collecting)
        return None

    def _stop_collecting(self) -> None:
        """The body takes its time: the handler may begin."""
        if self._collected is not None and not self.local_closed:
            self._stream_body()

    def _stream_body(self) -> None:
        request, pieces = self._request, self._collected or ()
        assert request is not None
        self._request = self._collected = None
        request.data = None
        request.incoming = self._body = ByteStream(self._hold, self._continue if self._expects else None)
        for piece in pieces:
            self._body.feed(piece)
        self.handle(request)

    def headers(self, fields: list[Field], end: bool) -> None:
        if not end:
            raise StreamFault(self.id, H2.PROTOCOL_ERROR)
        check_fields(fields, self.id)
        self.data(b"", True, 0)

    def data(self, payload: bytes, end: bool, size: int) -> None:
        if self._body is not None:
            self._take(self._body, payload, end, size)
        elif self._collected is not None:
            self._collected.append(payload)
            self._size += len(payload)
            limit = self.connection.http_limits.max_body_bytes
            if self._size > COLLECT or 0 < limit < self._size:
                self._stream_body()
                if end and self._body is not None:
                    self._body.finish()
            elif end:
                self._whole()
            if not end:
                self.credit(size)
        elif not end:
            self.credit(size)  # nobody reads it any more

    def _whole(self) -> None:
        request, pieces = self._request, self._collected
        assert request is not None and pieces is not None
        self._request = self._collected = None
        request.data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.handle(request)

    def _take(self, body: ByteStream, payload: bytes, end: bool, size: int) -> None:
        if payload and not self.local_closed:
            body.feed(payload)
        if end:
            body.finish()
        else:
            self.grant(size, later=self._paused)

    def _hold(self, full: bool) -> None:
        """The handler reads slower than the client sends."""
        self._paused = full
        if not full:
            self.settle()

    def _continue(self) -> None:
        if not self.local_closed and not self.remote_closed:
            self.send_headers(((":status", "100"),))

    # --- the answer
    def handle(self, request: Request) -> None:
        """Call the handler; an awaitable answer runs until the client goes away."""
        if self.connection.holds(self, request):
            return None
        try:
            answer = self.connection.handler(request)
        except Exception:
            log.exception("the handler of %s failed", request.method)
            answer = Response(500)
        if isinstance(answer, Response):
            return self.answer(answer)
        future = answer if isinstance(answer, asyncio.Future) else self._start(answer)
        if future.done():
            return self._handled(future)
        self._pending = future
        return future.add_done_callback(self._handled)

    def _start(self, answer: Awaitable[Response]) -> asyncio.Future[Response]:
        work = answer if isinstance(answer, Coroutine) else _run(answer)
        return eager.start(work, self.connection.loop, "http2.handler")

    def _handled(self, future: asyncio.Future[Response]) -> None:
        self._pending = None
        if future.cancelled():
            self.connection.reset(self, H2.CANCEL)
            return
        error = future.exception()
        if error is not None:
            log.error("the handler failed", exc_info=error)
        self.answer(future.result() if error is None else Response(500))

    def answer(self, response: Response) -> None:
        """Send head and body."""
        if self.local_closed:
            return
        body = response.body
        silent = self._method == "HEAD" or not has_body(response.status)
        sized = isinstance(body, bytes) and has_body(response.status) and (body != b"" or self._method != "HEAD")
        length = len(body) if isinstance(body, bytes) and sized else None
        self.send_headers(_head(response, length), end=silent or body == b"")
        if self.local_closed:
            self._drop()
        elif isinstance(body, bytes):
            self.send_data(body, end=True)
            self._drop()
        else:
            work = self._send_pieces(body)
            self._pending = self.connection.loop.create_task(work, name="http2.answer")

    async def _send_pieces(self, body: AsyncIterator[bytes]) -> None:
        try:
            async for piece in body:
                self.send_data(piece)
                if self.queued:
                    await self.writable()
                if self.local_closed:
                    return
            self.send_data(b"", end=True)
        except Exception as error:
            if not isinstance(error, OSError):
                log.exception("the body of an answer failed")
            self.connection.reset(self, H2.INTERNAL_ERROR)
        finally:
            self._drop()

    def _drop(self) -> None:
        """The answer is complete: what is left of the request's body is nobody's."""
        if self._body is not None:
            self._body.fail(ClosedEarly("the request was answered before its body ended"))
            self._paused = False

    def _gone(self) -> None:
        ended = self.remote_closed
        super()._gone()
        if self._body is not None and not ended:
            self._body.fail(ClosedEarly("the client went away"))
        if self._pending is not None:
            self._pending.cancel()


def _as_http1(head: RequestHead, framing: tuple[Field, ...], *, expects: bool) -> list[Field]:
    """The fields as HTTP/1.1 would have them: Host, one Cookie (RFC 9113 §8.2.3), a body of unknown length in chunks."""
    fields = [field for field in head.fields if field[0] != "cookie" and not (expects and field[0] == "expect")]
    if head.authority and not any(name == "host" for name, _ in fields):
        fields.insert(0, ("host", head.authority))
    if cookies := [value for name, value in head.fields if name == "cookie"]:
        fields.append(("cookie", "; ".join(cookies)))
    return [*fields, *framing]


async def _run(answer: Awaitable[Response]) -> Response:
    return await answer


def _head(response: Response, length: int | None) -> list[Field]:
    """The fields of an answer; those that HTTP/2 has no use for are left out."""
    fields, names = [(":status", str(response.status))], set()
    for name, value in response.headers:
        lower = name.lower()
        if lower not in HOP_BY_HOP and (lower != "content-length" or length is None):
            fields.append((lower, value if value.isprintable() else CONTROL.sub(" ", value)))
            names.add(lower)
    if length is not None:
        fields.append(("content-length", str(length)))
    if "date" not in names:
        fields.append(("date", http_date(int(time.time()))))
    return fields
