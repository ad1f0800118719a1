"""Plain HTTP/2 for a handler of edge.http1: prior knowledge and h2c upgrade on the HTTP API's port."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from edge.http1.messages import Handler, Limits, Request, Response
from edge.rpc import connection as wire
from edge.rpc.exchange import Exchange
from edge.rpc.frames import H2, StreamFault
from edge.rpc.hpack import OVERHEAD
from edge.rpc.request import read_request
from edge.rpc.room import OWN

SLACK = 4096  # Go reads so much beyond the limit
UPGRADED = 1


def http2(limits: Limits | None = None) -> Callable[[Handler], HttpConnection]:
    """What `edge.http1.server.serve(h2=…)` wants."""
    return lambda handler: HttpConnection(handler, limits or Limits())


class HttpConnection(wire.Connection):
    """One client that speaks HTTP/2."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self.soft_list = limits.read_buffer_bytes + SLACK
        granted = wire.Limits(
            max_streams=250, max_header_list=max(4 * self.soft_list, 64 << 10), handshake=limits.header_timeout, ping_interval=15.0, idle=0
        )
        super().__init__(granted, client=False)
        self.handler = handler
        self.http_limits = limits
        self.peer: tuple[str, int] | None = None
        self._held: deque[tuple[Exchange, Request]] = deque()

    # --- answers that the client has not read
    def holds(self, exchange: Exchange, request: Request) -> bool:
        """So much is unread that the request waits; `exchange.handle()` comes when less is."""
        if self.unsent <= OWN:
            return False
        self._held.append((exchange, request))
        return True

    def owe(self, size: int) -> None:
        self.unsent += size
        while size < 0 and self._held and self.unsent <= OWN and not self.closed:
            exchange, request = self._held.popleft()
            if not exchange.local_closed:
                exchange.handle(request)

    def ended(self, error: Exception | None) -> None:
        self._held.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.peer = (peer[0], peer[1]) if isinstance(peer, tuple) else None

    def upgraded(self, request: Request, settings: bytes) -> None:
        """The 101 is written: `request` is stream 1, `settings` what HTTP2-Settings held (RFC 7540 §3.2)."""
        self.greet()
        self.apply_settings(settings)
        self.last_id = UPGRADED
        exchange = Exchange(self, UPGRADED, request.method)
        exchange.remote_closed = True
        self.streams[UPGRADED] = exchange
        request.version = "2"
        exchange.handle(request)
        self.flush()

    def opened(self, stream_id: int, block: bytes, end: bool) -> None:
        fields = self.decoder.decode(block)
        head = read_request(fields, stream_id)
        if end and head.length > 0:
            raise StreamFault(stream_id, H2.PROTOCOL_ERROR)
        exchange = self.streams[stream_id] = Exchange(self, stream_id, head.method)
        exchange.remote_closed = end
        exchange.expected = head.length
        if sum(len(name) + len(value) + OVERHEAD for name, value in fields) > self.soft_list + OVERHEAD * len(fields):
            exchange.answer(Response(431))
        elif head.method == "CONNECT":
            exchange.answer(Response(405))
        else:
            exchange.begin(head, end)
