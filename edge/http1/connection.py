"""One server connection: requests in, answers out in order, one request at a time (as Go's server treats pipelining).

A handler that returns a Response costs no task, and the answers to what one read brought go out in one write.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import cast

from edge.http1.answering import Answering
from edge.http1.arriving import Arriving
from edge.http1.bodies import Chunked, Fixed, Malformed
from edge.http1.encode import CONTINUE, SWITCH_TO_H2, http_date
from edge.http1.head import CHUNKED, Refused
from edge.http1.hub import Hub
from edge.http1.messages import Request
from edge.http1.streams import ByteStream, ClosedEarly
from edge.http1.upgrade import H2Protocol, Upgraded, is_preface, upgrade_settings
from edge.http1.writer import Writer

SLACK = 4096  # Go reads so much beyond MaxHeaderBytes (net/http initialReadLimitSize)
COLLECT = 64 << 10  # a body of known length up to this is awaited before the handler is called
MAX_HELD = 64 << 10  # pipelined bytes beyond this pause the reading
TURN = 64  # pipelined requests that one connection gets answered before the others have their turn
EOF_GRACE = 0.5  # a client that only half-closed still gets its answer; one that left has its handler cancelled after this

_BARE_LF = re.compile(rb"\n\r?\n")


class Connection(Answering):
    """The input half: cuts the client's bytes into requests."""

    __slots__ = ("_buffer", "_due", "_fresh", "_peer", "_timer")

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self._peer: tuple[str, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fresh = True  # nothing was parsed yet, so an HTTP/2 preface may come
        self._due = False  # this connection's next turn is scheduled
        self._buffer = b""  # a head not complete, or requests behind the one in flight

    # --- called by the transport
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._writer = Writer(self._transport, self._hub.loop)
        name = transport.get_extra_info("peername")
        self._peer = (name[0], name[1]) if isinstance(name, tuple) else None
        self._hub.connections.add(self)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        self._consume(data)

    def eof_received(self) -> bool:
        self._eof = True
        if self._arriving is not None:
            self._arriving.fail(ClosedEarly("unexpected EOF"))
        if self._request is None and self._buffer and (self._due or self._writer.paused):
            return True  # whole requests may wait there
        if self._request is None or (self._arriving is not None and self._arriving.collected is not None):
            return False
        self._hub.loop.call_later(EOF_GRACE, self._give_up)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._hub.discard(self)
        self._stop_timer()
        self._buffer = b""
        if self._arriving is not None:
            self._arriving.fail(ClosedEarly("unexpected EOF"))
        self._give_up()
        self._writer.resume()

    def pause_writing(self) -> None:
        self._writer.pause()

    def resume_writing(self) -> None:
        self._writer.resume()
        if self._request is None and self._buffer and not self._closing:
            self._go_on()

    # --- called by the server
    def shutdown(self) -> None:
        """Close as soon as nothing is in flight."""
        self._keep = False
        if self._request is None:
            self._transport.close()

    def abort(self) -> None:
        """Close now, whatever is in flight."""
        self._give_up()
        self._transport.abort()

    # --- input
    def _consume(self, data: bytes) -> None:
        """Take requests from `data` until one is in flight, or the turn is over; then write what was answered."""
        left = TURN
        while data and not self._closing:
            if self._arriving is not None:
                data = self._take_body(self._arriving, data)
            elif self._request is not None or self._writer.paused:
                self._buffer = data
                break
            elif not left:
                self._buffer = data
                self._wait_turn()
                break
            else:
                left -= 1
                data = self._take_head(data)
                if self._writer.much:
                    self._writer.flush()  # one read may hold thousands of requests: notice when the client does not take the answers
        self._writer.flush()
        if self._closing or (self._eof and self._request is None and not self._due):
            self._end()
        elif len(self._buffer) > MAX_HELD:
            self._set_reading(False)

    def _wait_turn(self) -> None:
        if not self._due:
            self._due = True
            self._hub.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._due = False
        if self._request is None and not self._writer.paused and not self._transport.is_closing():
            self._go_on()

    def _go_on(self) -> None:
        """An answer is complete, or the client reads again: next, what was held back."""
        data, self._buffer = self._buffer, b""
        if len(data) > MAX_HELD:
            self._set_reading(True)
        self._consume(data)

    def _take_head(self, data: bytes) -> bytes:
        if data[0] <= 13:
            data = data.lstrip(b"\r\n")  # RFC 9112 §2.2: empty lines before a request are ignored
        hub = self._hub
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 or end > hub.limits.read_buffer_bytes + SLACK:
            return self._partial(data, end)
        if self._timer is not None:
            self._stop_timer()
        try:
            request, block = hub.parser.parse(data[:end], self._peer, hub.limits.max_body_bytes)
        except Refused as refused:
            return self._refuse_or_switch(refused, data)
        self._fresh = False
        self._keep = block.keep and not hub.closing
        self._request = request
        if block.length or block.upgrade:
            return self._begin_body(request, block.length, data[end:])
        request.data = b""
        self._call(request)
        return data[end:]

    def _partial(self, data: bytes, end: int) -> bytes:
        """A head that is not complete, or too long."""
        if max(end, len(data)) > self._hub.limits.read_buffer_bytes + SLACK:
            return self._refuse(Refused("431 Request Header Fields Too Large"))
        if _BARE_LF.search(data):
            return self._refuse(Refused())
        if data:
            self._buffer = data
            if self._timer is None:
                self._start_timer()
        return b""

    def _refuse_or_switch(self, refused: Refused, data: bytes) -> bytes:
        factory = self._hub.h2
        if factory is None or not self._fresh:
            return self._refuse(refused)
        line = data[: data.find(b"\r\n")].upper()
        if b" HTTP/" not in line and b" /" not in line:
            self._closing = True  # neither HTTP/1 nor a right preface: closed without a word (RFC 9113 §3.4)
            return b""
        if not is_preface(data):
            return self._refuse(refused)
        self._switch(factory(self._hub.handler)).data_received(data)
        return b""

    def _refuse(self, refused: Refused) -> bytes:
        """Answer in the handler's place, in the words of Go's server, and close."""
        self._request, self._closing, self._linger = None, True, True
        kind = "Content-Type: text/plain; charset=utf-8" if refused.text else f"Date: {http_date(int(time.time()))}\r\nContent-Length: 0"
        head = f"HTTP/1.1 {refused.status}\r\n{kind}\r\nConnection: close\r\n\r\n"
        self._writer.out.append((head + refused.text).encode())
        return b""

    def _begin_body(self, request: Request, length: int, data: bytes) -> bytes:
        framing = Chunked() if length == CHUNKED else Fixed(length)
        try:
            payload, rest = framing.take(data)
        except Malformed:
            return self._refuse(Refused())
        limit = request.max_body_bytes
        fits = limit <= 0 or max(length, len(payload)) <= limit
        if framing.done and fits:
            request.data = payload
            return self._call_or_upgrade(request, rest)
        waits = not payload and request.version == "1.1" and request.headers.get("expect") is not None
        if fits and 0 < length <= COLLECT and not waits:
            self._arriving = arriving = Arriving(framing, None)
            arriving.put(payload)
            return rest
        request.incoming = stream = ByteStream(self._hold_body, self._send_continue if waits else None)
        arriving = Arriving(framing, stream, waits)
        arriving.put(payload)
        self._arriving = None if framing.done else arriving
        self._call(request)
        return rest

    def _take_body(self, arriving: Arriving, data: bytes) -> bytes:
        rest = arriving.take(data)
        if arriving.done:
            self._arriving = None
            if arriving.collected is not None and self._request is not None:
                self._request.data = b"".join(arriving.collected)
                self._call(self._request)
        elif arriving.broken:
            self._keep = False
            self._closing = self._request is None
        return rest

    def _hold_body(self, full: bool) -> None:
        """The handler reads slower than the client sends."""
        self._set_reading(not full)

    def _send_continue(self) -> None:
        if self._arriving is not None and self._arriving.waits and not self._transport.is_closing():
            self._arriving.waits = False
            self._transport.write(CONTINUE)

    # --- HTTP/2
    def _call_or_upgrade(self, request: Request, rest: bytes) -> bytes:
        factory = self._hub.h2
        settings = upgrade_settings(request) if factory is not None else None
        if factory is None or settings is None:
            self._call(request)
            return rest
        self._request = None
        self._writer.out.append(SWITCH_TO_H2)
        h2 = self._switch(factory(self._hub.handler))
        h2.upgraded(request, settings)
        if rest:
            h2.data_received(rest)
        return b""

    def _switch(self, h2: H2Protocol) -> H2Protocol:
        """Hand the transport over; this object is done."""
        self._writer.flush()
        upgraded = Upgraded(self._hub.discard, self._transport, h2)
        self._hub.connections.add(upgraded)
        self._hub.discard(self)
        self._transport.set_protocol(upgraded)
        h2.connection_made(self._transport)
        return h2

    # --- the end
    def _end(self) -> None:
        if not self._transport.is_closing():
            self._writer.end(self._linger)

    def _start_timer(self) -> None:
        self._timer = self._hub.loop.call_later(self._hub.limits.header_timeout, self._transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
