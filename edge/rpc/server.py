"""Serve gRPC: header blocks become calls, anything else gets a plain HTTP answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edge.errors import Grpc
from edge.rpc.call import ANSWER, Call, CallHead, Method
from edge.rpc.connection import READ_SIZE, Connection, Limits
from edge.rpc.frames import H2, StreamFault
from edge.rpc.hpack import Field
from edge.rpc.messages import ENCODINGS
from edge.rpc.request import check_fields, read_request
from edge.rpc.room import Room
from edge.rpc.status import CONTENT_TYPE, RpcError, answered_with, bin_problem, parse_timeout, trailer_fields
from edge.rpc.stream import Stream
from edge.rpc.stream_call import StreamCall, StreamHandler
from edge.rpc.unary_call import UnaryCall, UnaryHandler

__all__ = ["Call", "Method", "Server", "Service", "StreamCall", "StreamHandler", "UnaryCall", "UnaryHandler"]

log = logging.getLogger("dapr.runtime.grpc.api")
PLAIN = ("content-type", "text/plain")
MEMORY = 256  # header blocks remembered per connection
LIMITS = Limits(min_ping=8.0)


class Methods(Protocol):
    """Methods by full path; a dict is one."""

    def get(self, path: str, /) -> Method | None: ...


def render(error: Exception) -> RpcError:
    """The default for an exception that no front knows: a bug."""
    log.error("a gRPC handler failed", exc_info=error)
    return RpcError(Grpc.INTERNAL, "internal error")


@dataclass(slots=True)
class Service:
    """What a server offers.

    methods: by full path. unknown: serves every other path (default: Unimplemented). intercept: refuses a call by raising.
    render: exception -> status. done: told of every ended call with its status. max_receive, max_send: bytes of a message, <= 0 none.
    room: for unread answers; listeners may share one.
    """

    methods: Methods
    unknown: StreamHandler | None = None
    intercept: Callable[[Call], None] | None = None
    render: Callable[[Exception], RpcError] = render
    done: Callable[[Call, int], None] | None = None
    max_receive: int = 4 << 20
    max_send: int = 4 << 20
    room: Room = field(default_factory=Room)


class Server:
    """Makes the protocol of each connection, and knows them all."""

    def __init__(self, service: Service, limits: Limits = LIMITS) -> None:
        self.service = service
        self.limits = limits
        self.connections: set[ServerConnection] = set()
        self.buffer = memoryview(bytearray(READ_SIZE))
        self._empty = asyncio.Event()
        self._empty.set()

    def protocol(self) -> ServerConnection:
        """For loop.create_server."""
        return ServerConnection(self)

    async def drain(self, grace: float) -> None:
        """Take no new calls, give those under way `grace` seconds, then cut the connections."""
        for connection in tuple(self.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._empty.wait()
        for connection in tuple(self.connections):
            connection.abort()

    def joined(self, connection: ServerConnection) -> None:
        """A connection is there."""
        self.connections.add(connection)
        self._empty.clear()

    def left(self, connection: ServerConnection) -> None:
        """It is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is no call. length: of its body by content-length, -1 = not said. status: HTTP's. kind: content-type of the answer."""

    length: int
    status: str
    code: int
    message: str
    kind: Field = CONTENT_TYPE


class ServerConnection(Connection):
    """One client."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.limits, client=False, buffer=server.buffer)
        self.server = server
        self.service = server.service
        self.buffered = 0
        self.peer: object = None
        self._heads: dict[bytes, CallHead | Refusal] = {}
        self._heads_of = 0
        self._held: deque[Call] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = transport.get_extra_info("peername")
        self.server.joined(self)

    def ended(self, error: Exception | None) -> None:
        self._held.clear()
        self.service.room.leave(self)
        self.server.left(self)

    # --- room for answers
    def owe(self, size: int) -> None:
        self.unsent += size
        self.service.room.add(size)

    def begins(self, call: Call, expected: int) -> bool:
        """There is room for the call's answer, which is now taken; else `call.resume()` comes when there is."""
        room = self.service.room
        if not self._held and room.admits(self.unsent, expected):
            call.charge(expected)
            return True
        self._held.append(call)
        room.wait(self)
        return False

    def resume(self) -> None:
        """Begin the calls that there is room for."""
        held, room = self._held, self.service.room
        while held and not self.closed:
            call = held[0]
            expected = call.head.method.expected
            if not call.local_closed and not room.admits(self.unsent, expected):
                return
            held.popleft()
            if not call.local_closed:
                call.charge(expected)
                call.resume()
        room.leave(self)

    # --- calls

    def opened(self, stream_id: int, block: bytes, end: bool) -> None:
        decoder = self.decoder
        if self._heads_of != decoder.generation:
            self._heads.clear()
            self._heads_of = decoder.generation
        found = self._heads.get(block)
        if found is None:
            found = self._read(decoder.decode(block), stream_id)
            if self._heads_of == decoder.generation and len(self._heads) < MEMORY:
                self._heads[block] = found
        if isinstance(found, Refusal):
            stream: Stream = NotGrpc(self, stream_id, found)
        elif found.method.unary is not None:
            stream = UnaryCall(self, stream_id, found)
        else:
            stream = StreamCall(self, stream_id, found)
        self.streams[stream_id] = stream
        if isinstance(stream, StreamCall):
            stream.begin()
        if end:
            if stream.expected > 0:
                raise StreamFault(stream_id, H2.PROTOCOL_ERROR)
            stream.remote_closed = True
            stream.data(b"", True, 0)

    def _read(self, fields: Sequence[Field], stream_id: int) -> CallHead | Refusal:
        """Raises StreamFault on what is no HTTP/2 request."""
        request = read_request(fields, stream_id)
        length, timeout, encoding, content, wrong = request.length, -1.0, "", "", ""
        for name, value in request.fields:
            if name == "content-type":
                content = value
            elif name == "grpc-encoding":
                encoding = value
            elif name == "grpc-timeout":
                try:
                    timeout = parse_timeout(value)
                except ValueError as error:
                    wrong = f"malformed grpc-timeout: {error}"
            elif name.endswith("-bin"):
                wrong = bin_problem(name, value) or wrong
        kind = answered_with(content)
        if kind is None:
            reader = CONTENT_TYPE if request.method == "POST" else PLAIN
            return Refusal(length, "415", Grpc.INVALID_ARGUMENT, f'invalid gRPC request content-type "{content}"', reader)
        if wrong:
            return Refusal(length, "400", Grpc.INTERNAL, wrong, kind)
        if request.method != "POST":
            text = f'Received a HEADERS frame with :method "{request.method}" which should be POST'
            return Refusal(length, "405", Grpc.INTERNAL, text, kind)
        if not timeout:
            return Refusal(length, "200", Grpc.DEADLINE_EXCEEDED, "context deadline exceeded", kind)
        if encoding not in ENCODINGS:
            text = f'grpc: Decompressor is not installed for grpc-encoding "{encoding}"'
            return Refusal(length, "200", Grpc.UNIMPLEMENTED, text, kind)
        method = self.service.methods.get(request.path) or Method(stream=self.service.unknown or unimplemented)
        answer = ANSWER if kind is CONTENT_TYPE else (ANSWER[0], kind)
        zipped = encoding == "gzip"
        begun = (*answer, ("grpc-encoding", encoding)) if zipped else answer
        return CallHead(request.path, fields, method, max(timeout, 0.0), encoding, length, answer, begun, begun, zipped)


async def unimplemented(call: StreamCall) -> None:
    """Where nothing serves unknown paths."""
    service, _, method = call.path.lstrip("/").rpartition("/")
    raise RpcError(Grpc.UNIMPLEMENTED, f"unknown method {method} for service {service}")


class NotGrpc(Stream):
    """A request that is no gRPC call: read to its end, then refused, with an HTTP status that says so too (as grpc-go)."""

    def __init__(self, connection: ServerConnection, stream_id: int, refusal: Refusal) -> None:
        super().__init__(connection, stream_id)
        self.expected = refusal.length
        self._refusal = refusal

    def headers(self, fields: list[Field], end: bool) -> None:
        if not end:
            raise StreamFault(self.id, H2.PROTOCOL_ERROR)
        check_fields(fields, self.id)
        self.data(b"", True, 0)

    def data(self, payload: bytes, end: bool, size: int) -> None:
        if not end:
            return self.credit(size)
        refusal = self._refusal
        trailers = trailer_fields(refusal.code, refusal.message)
        if refusal.kind is not PLAIN:
            return self.send_headers(((":status", refusal.status), refusal.kind, *trailers), end=True)
        text = refusal.message.encode("utf-8", "replace") + b"\n"  # for a browser
        self.send_headers(((":status", refusal.status), PLAIN, ("content-length", str(len(text))), *trailers))
        return self.send_data(text, end=True)
