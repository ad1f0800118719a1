"""Call a gRPC server over one shared connection that is opened when it is needed."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.clock import blamed
from edge.errors import Grpc, Unavailable
from edge.rpc.connection import Connection, Limits
from edge.rpc.frames import H2, MAX_STREAM_ID, ConnectionFault
from edge.rpc.hpack import Field
from edge.rpc.messages import prefix
from edge.rpc.reply import Answer, Refused, Reply, StreamReply, UnaryReply
from edge.rpc.status import CONTENT_TYPE, RpcError, format_timeout
from edge.rpc.stream import Stream
from edge.version import VERSION

if TYPE_CHECKING:
    import ssl

__all__ = ["Answer", "Channel", "Reply", "StreamReply", "Target"]

LIMITS = Limits(ping_interval=0)  # a gRPC server sends clients away that ping it
AGENT = ("user-agent", f"edged/{VERSION}")
ATTEMPTS = 3  # of a call that servers refused unseen


@dataclass(frozen=True, slots=True)
class Target:
    """A server. unix: a socket's path instead of host and port. check: raises Unavailable when the wrong one answers over TLS."""

    host: str = ""
    port: int = 0
    unix: str = ""
    tls: ssl.SSLContext | None = None
    authority: str = ""
    check: Callable[[asyncio.BaseTransport], None] | None = None

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def connect(self, protocol: Connection) -> None:
        """Open a connection. Raises RpcError UNAVAILABLE with grpc-go's text."""
        loop = asyncio.get_running_loop()
        network, address = ("unix", self.unix) if self.unix else ("tcp", self.address)
        try:
            if self.unix:
                await loop.create_unix_connection(lambda: protocol, self.unix)
            else:
                name = self.host if self.tls is not None else None
                transport, _ = await loop.create_connection(lambda: protocol, self.host, self.port, ssl=self.tls, server_hostname=name)
                if self.check is not None:
                    self._checked(transport)
        except OSError as error:
            if type(error).__module__ == "ssl":
                text = f'connection error: desc = "transport: authentication handshake failed: tls: {blamed(str(error))}"'
                raise RpcError(Grpc.UNAVAILABLE, text) from error
            cause = os.strerror(error.errno).lower() if error.errno else str(error)
            where = f"dial {network} {address}: connect: {cause}"
            if isinstance(error, socket.gaierror):
                where = f"dial {network}: lookup {self.host}: no such host"
            text = f'connection error: desc = "transport: Error while dialing: {where}"'
            raise RpcError(Grpc.UNAVAILABLE, text) from error

    def _checked(self, transport: asyncio.Transport) -> None:
        assert self.check is not None
        try:
            self.check(transport)
        except Unavailable as error:
            transport.abort()
            raise RpcError(Grpc.UNAVAILABLE, f'connection error: desc = "{error}"') from None


class ClientConnection(Connection):
    """One connection to a server. max_receive, max_send: bytes of a message, <= 0 no limit."""

    def __init__(self, target: Target, limits: Limits, max_receive: int, max_send: int) -> None:
        super().__init__(limits, client=True)
        self.max_receive = max_receive
        self.max_send = max_send
        scheme = "http" if target.tls is None else "https"
        authority = target.authority or ("localhost" if target.unix else target.address)
        self._first: tuple[Field, ...] = ((":method", "POST"), (":scheme", scheme))
        self._common: tuple[Field, ...] = ((":authority", authority), CONTENT_TYPE, ("te", "trailers"), AGENT)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._fault: Exception | None = None

    @property
    def usable(self) -> bool:
        """New calls may be started here."""
        return not self.closed and not self.draining and self.next_id < MAX_STREAM_ID

    def start(self, stream: Stream, path: str, metadata: Sequence[Field], timeout: float | None) -> None:
        """Register a stream that was made with `next_id` and send its head."""
        self.streams[stream.id] = stream
        self.next_id += 2
        fields = (*self._first, (":path", path), *self._common)
        if timeout is not None:
            fields = (*fields, ("grpc-timeout", format_timeout(timeout)))
        stream.send_headers((*fields, *metadata) if metadata else fields)

    def wording(self, error: Exception | None) -> str:
        """Why calls were lost, in grpc-go's words."""
        if self.settled:
            return f"error reading from server: {'EOF' if error is None else error}"
        large = isinstance(error, ConnectionFault) and error.code is H2.FRAME_SIZE_ERROR
        cause = "http2: frame too large" if large else "EOF" if error is None else str(error)
        return f'connection error: desc = "error reading server preface: {cause}"'

    def refusal(self) -> RpcError:
        """For calls that come when it is over."""
        return RpcError(Grpc.UNAVAILABLE, self.wording(self._fault))

    def _drop_streams(self, error: Exception | None) -> None:
        self._fault = self._fault or error
        super()._drop_streams(error)

    async def room(self) -> None:
        """Wait until the server's limit on concurrent streams allows one more."""
        while len(self.streams) >= self.peer_max_streams and not self.closed:
            turn = self.loop.create_future()
            self._waiting.append(turn)
            await turn

    def forget(self, stream: Stream) -> None:
        super().forget(stream)
        self._next_turn()

    def ended(self, error: Exception | None) -> None:
        while self._waiting:
            self._next_turn()

    def _next_turn(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


class Channel:
    """Calls one server. Cheap to make: it connects at the first call, and again after the connection ended.

    told: hears of every unary call that is over: path, status, bytes of the request and of the answer, monotonic seconds of its begin.
    """

    def __init__(
        self,
        target: Target,
        *,
        max_receive: int = 4 << 20,
        max_send: int = 4 << 20,
        connect_timeout: float = 20.0,
        limits: Limits = LIMITS,
    ) -> None:
        self.target = target
        self._limits = limits
        self._max = (max_receive, max_send)
        self._connect_timeout = connect_timeout
        self._connection: ClientConnection | None = None
        self._connecting: asyncio.Task[ClientConnection] | None = None
        self._old: set[ClientConnection] = set()
        self.told: Callable[[str, int, int, int, float], None] | None = None

    async def unary(self, path: str, message: bytes, metadata: Sequence[Field] = (), timeout: float | None = None) -> Answer:
        """One message for one message. metadata: as on the wire (`-bin` values in base64). Raises RpcError."""
        if self.told is None:
            return await self._unary(path, message, metadata, timeout)
        began = time.monotonic()
        try:
            answer = await self._unary(path, message, metadata, timeout)
        except RpcError as error:
            self.told(path, error.code, len(message), 0, began)
            raise
        self.told(path, Grpc.OK, len(message), len(answer.message), began)
        return answer

    async def _unary(self, path: str, message: bytes, metadata: Sequence[Field], timeout: float | None) -> Answer:
        max_send = self._max[1]
        if 0 < max_send < len(message):
            raise RpcError(Grpc.RESOURCE_EXHAUSTED, f"trying to send message larger than max ({len(message)} vs. {max_send})")
        for attempt in range(ATTEMPTS):
            connection = await self.connection()
            reply = UnaryReply(connection, connection.next_id)
            connection.start(reply, path, metadata, timeout)
            reply.send_data(prefix(len(message)) + message, end=True)
            if timeout is not None:
                reply.expire_after(timeout)
            try:
                return await reply.future
            except asyncio.CancelledError:
                reply.give_up(RpcError(Grpc.CANCELLED, "context canceled"))
                raise
            except Refused:
                if attempt + 1 == ATTEMPTS:
                    break
        raise RpcError(Grpc.UNAVAILABLE, "the connection is draining")

    async def stream(self, path: str, metadata: Sequence[Field] = (), timeout: float | None = None) -> StreamReply:
        """Start a call with messages both ways. Raises RpcError when there is no connection."""
        connection = await self.connection()
        reply = StreamReply(connection, connection.next_id)
        connection.start(reply, path, metadata, timeout)
        if timeout is not None:
            reply.expire_after(timeout)
        return reply

    async def connect(self) -> None:
        """Make sure that there is a connection. Raises RpcError UNAVAILABLE."""
        await self.connection()

    def abandon(self) -> None:
        """End the connections at once; calls under way fail."""
        for connection in (*self._old, self._connection):
            if connection is not None:
                connection.abort()
        self._connection = None
        self._old.clear()

    async def close(self) -> None:
        """The same, and no connection is made any more."""
        if self._connecting is not None:
            self._connecting.cancel()
        self.abandon()

    async def connection(self) -> ClientConnection:
        """A connection with room for one more stream. Raises RpcError UNAVAILABLE."""
        connection = self._connection
        while connection is None or not connection.usable or len(connection.streams) >= connection.peer_max_streams:
            if connection is not None and connection.usable:
                await connection.room()
            else:
                connection = await self._open()
                if not connection.usable:
                    raise connection.refusal()  # it ended at once: so would the next
        return connection

    async def _open(self) -> ClientConnection:
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._dial(), name="rpc.dial")
        try:
            return await asyncio.shield(self._connecting)
        finally:
            if self._connecting is not None and self._connecting.done():
                self._connecting = None

    async def _dial(self) -> ClientConnection:
        if self._connection is not None and not self._connection.closed:
            self._old.add(self._connection)  # it drains
        self._old = {each for each in self._old if not each.closed}
        connection = ClientConnection(self.target, self._limits, *self._max)
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self.target.connect(connection)
        except TimeoutError as error:
            text = f"dial tcp {self.target.address}: i/o timeout"
            raise RpcError(Grpc.UNAVAILABLE, f'connection error: desc = "transport: Error while dialing: {text}"') from error
        self._connection = connection
        return connection
