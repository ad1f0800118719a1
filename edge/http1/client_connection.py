"""One connection of the client: one request at a time; it goes back to the pool by itself when the answer is complete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from edge.eager import Prompt
from edge.http1.client_response import BadResponse, ClientResponse, ResponseTimeout
from edge.http1.encode import LAST_CHUNK, chunk
from edge.http1.head import LowerNames, keeps_alive
from edge.http1.messages import Headers
from edge.http1.streams import ByteStream, ClosedEarly
from edge.reading import Reading

CHUNKED = "chunked"
BROKEN = "net/http: HTTP/1.x transport connection broken: "


class ClientConnection(Reading):
    """Idle in the pool, or busy with one request: `_answer` waits for the head, then `_body` takes what comes after.

    began: some byte of the answer came. reused: an earlier request was answered here.
    """

    __slots__ = (
        "_answer", "_body", "_complete", "_drained", "_head_only", "_head_size", "_items", "_keep", "_loop", "_max_head", "_names",
        "_parser", "_paused", "_pieces", "_reason", "_release", "_response", "_sender", "_transport", "_until_close", "began",
        "idle_since", "reused",
    )  # fmt: skip

    _transport: asyncio.Transport

    def __init__(self, release: Callable[[ClientConnection, bool], None], names: LowerNames, max_head: int) -> None:
        """release(connection, usable): called once per request when its answer is complete, and when the connection is gone."""
        self._loop = asyncio.get_running_loop()
        self._release = release
        self._names = names
        self._max_head = max_head
        self._parser: HttpResponseParser | None = _parser(self)
        self._answer: asyncio.Future[ClientResponse] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._paused = False
        self._drained: asyncio.Future[None] | None = None
        self.reused = False
        self.idle_since = 0.0
        self._reset(False)

    def _reset(self, head_only: bool) -> None:
        self._items: list[tuple[str, str]] = []
        self._pieces: list[bytes] = []
        self._response: ClientResponse | None = None
        self._body: ByteStream | None = None
        self._reason = ""
        self._head_size = 0
        self._head_only = head_only
        self._until_close = False  # neither length nor chunks: the body ends with the connection
        self._keep = self._complete = self.began = False

    # --- one request
    async def exchange(
        self, head_only: bool, message: bytes, body: AsyncIterator[bytes] | None, length: int | None, deadline: float | None
    ) -> ClientResponse:
        """Send, and return when the answer's head is here. Raises ClosedEarly, BadResponse, ResponseTimeout, what `body` raises."""
        self._reset(head_only)
        answer: Prompt[ClientResponse] = Prompt(self._loop)
        self._answer = answer
        timer = None if deadline is None else self._loop.call_at(deadline, self._fail, ResponseTimeout("no answer in time"))
        self._transport.write(message)
        if body is not None:
            self._sender = self._loop.create_task(self._send(body, length), name="http1.send")
            self._sender.add_done_callback(self._sent)
        try:
            return await answer
        except BaseException:
            self.abort()
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def abort(self) -> None:
        """Close now; whoever waits for the answer or its body gets ClosedEarly."""
        self._transport.abort()

    def quiet(self) -> bool:
        """Idle and open, as far as the loop knows."""
        return self._answer is None and not self._transport.is_closing()

    def fileno(self) -> int:
        """The socket's file descriptor."""
        return cast(int, self._transport.get_extra_info("socket").fileno())

    # --- called by the transport
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._until_close and exc is None and self._response is not None and not self._complete:
            self._end()
        else:
            number = exc.errno if isinstance(exc, OSError) else None
            self._fail(ClosedEarly("unexpected EOF" if self.began else "EOF") if number is None else ClosedEarly(number, str(exc)))
        self._parser = None  # it refers to this object
        self.resume_writing()
        self._release(self, False)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._parser is None:
            self.abort()  # an answer that nobody asked for
            return
        self.began = True
        if self._response is None and self._head_size + len(data) > self._max_head and self._too_long(data):
            self._fail(BadResponse(f"{BROKEN}net/http: server response headers exceeded {self._max_head} bytes; aborted"))
            return
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._keep = False
        except HttpParserError as error:
            self._keep = False
            if not self._complete:
                self._fail(self._malformed(data, error))
                return
        if self._response is None:
            self._head_size += len(data)
        elif self._complete:
            self._deliver_whole(self._response)
        else:
            self._deliver_pieces(self._response)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # --- called by llhttp
    def on_status(self, reason: bytes) -> None:
        self._reason += reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._items.append((self._names[name], value.rstrip().decode("utf-8", "surrogateescape")))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        status, headers = parser.get_status_code(), Headers(self._items)
        coding = headers.get("transfer-encoding", CHUNKED)
        if status < 100 or (coding.lower() != CHUNKED and parser.get_http_version() != "1.0"):
            raise ValueError("no answer that Go reads")  # reaches data_received as the parser's error
        if self._complete:
            self._keep = False  # a second answer
        elif status >= 200 or status == 101:
            self._response = ClientResponse(status, self._reason, headers, self.abort)
            unframed = headers.get("content-length") is None and headers.get("transfer-encoding") is None
            self._until_close = unframed and status not in (101, 204, 304) and not self._head_only
            self._keep = status != 101 and not self._until_close and keeps_alive(headers, parser.get_http_version())
            self._complete = self._head_only
        self._items, self._reason = [], ""

    def on_body(self, data: bytes) -> None:
        if not self._head_only:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self._response is not None:
            self._complete = True

    # --- the answer
    def _deliver_whole(self, response: ClientResponse) -> None:
        if self._body is None:
            response.data = b"".join(self._pieces)
        else:
            self._feed(self._body)
        self._end()

    def _deliver_pieces(self, response: ClientResponse) -> None:
        """The head is here, the body still comes."""
        if self._body is None:
            self._body = ByteStream(self._hold)
            response.attach(self._body)
        self._feed(self._body)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(response)

    def _feed(self, body: ByteStream) -> None:
        for piece in self._pieces:
            body.feed(piece)
        self._pieces.clear()

    def _end(self) -> None:
        """The answer is complete: the connection is free, unless the request still goes out."""
        self._complete = True
        answer, self._answer = self._answer, None
        response = self._response
        if self._body is not None:
            self._body.finish()
        usable = self._keep and self._sender is None and not self._transport.is_closing()
        if self._head_only:
            self._parser = _parser(self)  # the old one waits for the body
        if self._sender is not None:
            self._sender.cancel()
        if usable:
            self.reused = True
            self._hold(False)
            self._release(self, True)
        else:
            self._transport.close()
        if answer is not None and response is not None and not answer.done():
            answer.set_result(response)  # last: who waits for it may take this connection again at once

    def _malformed(self, data: bytes, error: HttpParserError) -> Exception:
        if self._response is not None:
            return ClosedEarly(f"malformed HTTP response: {error}")
        from edge.http1.malformed import fault  # few answers are

        return BadResponse(BROKEN + fault(data, str(error)))

    def _too_long(self, data: bytes) -> bool:
        """The head does not end, in what is here of it, before the limit."""
        end = data.find(b"\r\n\r\n")
        return end < 0 or self._head_size + end + 4 > self._max_head

    def _fail(self, error: Exception) -> None:
        """The answer will not come, or not all of it."""
        if self._sender is not None:
            self._sender.cancel()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        elif self._body is not None:
            self._body.fail(error)
        self._transport.abort()

    def _hold(self, full: bool) -> None:
        if not self._transport.is_closing():
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # --- a streamed request body
    async def _send(self, body: AsyncIterator[bytes], length: int | None) -> None:
        left = length
        async for piece in body:
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            if piece:
                self._transport.write(chunk(piece) if length is None else piece)
            if self._paused:
                self._drained = self._loop.create_future()
                await self._drained
        if left:
            raise ClosedEarly("request body shorter than its Content-Length")
        if length is None:
            self._transport.write(LAST_CHUNK)

    def _sent(self, sender: asyncio.Task[None]) -> None:
        self._sender = None
        error = None if sender.cancelled() else sender.exception()
        if isinstance(error, Exception):
            self._fail(error)


def _parser(of: ClientConnection) -> HttpResponseParser:
    """Bare line feeds, and a length beside chunks, are read as Go's client reads them."""
    parser = HttpResponseParser(of)
    parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_chunked_length=True)
    return parser
