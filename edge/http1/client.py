"""Call an app over HTTP/1.1: kept connections, streaming both ways, no redirects."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from edge.clock import blamed
from edge.http1.client_connection import ClientConnection
from edge.http1.client_response import BadResponse, ClientResponse, ConnectError, ResponseTimeout
from edge.http1.head import LowerNames
from edge.http1.outgoing import RequestEncoder
from edge.http1.streams import ClosedEarly

if TYPE_CHECKING:
    import ssl as tls

__all__ = ["BadResponse", "Client", "ClientResponse", "ClosedEarly", "ConnectError", "ResponseTimeout"]

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # sent again when a kept connection turns out stale (net/http isReplayable)
DOUBTFUL = 1.0  # seconds of idleness after which a kept connection is looked at before use
TOO_LONG = 30.0  # seconds of idleness after which a connection is closed, if others are used


class Client:
    """Calls one server. Cheap to create: connections open on demand."""

    def __init__(
        self,
        host: str,
        port: int,
        ssl: tls.SSLContext | None = None,
        unix: str | None = None,
        max_connections: int = 1024,
        max_head_bytes: int = 64 << 10,
    ) -> None:
        """ssl: speak TLS. unix: the socket's path, host and port then only name the server. max_connections: more requests wait."""
        self.address = unix or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        self._place = host, port, ssl, unix
        self._encoder = RequestEncoder(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        self._names = LowerNames()
        self._max_head = max_head_bytes
        self._free = max_connections
        self._idle: deque[ClientConnection] = deque()
        self._open: set[ClientConnection] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

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
        (None: no limit); the body's reader sets its own. Redirects are returned as they are. A request that came upon a stale
        kept connection is sent once more if its method is safe and no byte of an answer came.
        Raises ConnectError, ClosedEarly, BadResponse, ResponseTimeout, ValueError (method or target), and what `body` raises.
        """
        message, length = self._encoder.encode(method, target, headers, body)
        pieces = None if isinstance(body, bytes) else body
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        while True:
            connection = self._kept() or await self._another(deadline)
            try:
                return await connection.exchange(method == "HEAD", message, pieces, length, deadline)
            except ClosedEarly:
                if not connection.reused or connection.began or method not in SAFE or pieces is not None:
                    raise

    async def close(self) -> None:
        """Close idle connections; those in use close when their answer is complete."""
        self._closed = True
        for connection in self._idle:
            connection.abort()
        await asyncio.sleep(0)

    # --- the pool
    def _kept(self) -> ClientConnection | None:
        """A connection that is open and idle, the last used first."""
        while self._idle:
            connection = self._idle.pop()
            if connection.quiet() and not self._stale(connection):
                return connection
            connection.abort()
        return None

    def _stale(self, connection: ClientConnection) -> bool:
        """The server's FIN may wait in the kernel: a request would be lost on it."""
        if asyncio.get_running_loop().time() - connection.idle_since < DOUBTFUL:
            return False
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def _another(self, deadline: float | None) -> ClientConnection:
        """A new connection, or a kept one when the limit is reached and one becomes free."""
        try:
            async with asyncio.timeout_at(deadline):
                while not self._free:
                    await self._turn()
                    if kept := self._kept():
                        return kept
                return await self._connect()
        except ConnectError:
            raise
        except TimeoutError:
            raise self._refused(TimeoutError(errno.ETIMEDOUT, "i/o timeout")) from None

    async def _turn(self) -> None:
        """Wait until a connection is released or gone."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self._wake()  # the turn was ours; pass it on
            raise

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _connect(self) -> ClientConnection:
        self._free -= 1
        try:
            connection = await self._dial()
        except BaseException:
            self._free += 1
            self._wake()
            raise
        self._open.add(connection)
        return connection

    async def _dial(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        host, port, context, unix = self._place
        name = host if context is not None else None
        try:
            if unix is not None:
                return (await loop.create_unix_connection(self._new, unix, ssl=context, server_hostname=name))[1]
            addresses = await _resolve(host, port)
        except OSError as error:
            raise self._refused(error) from error
        first: ConnectError | None = None
        for address in addresses:
            try:
                return (await loop.create_connection(self._new, address, port, ssl=context, server_hostname=name))[1]
            except OSError as error:
                first = first or self._refused(error, f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
        raise first or self._refused(OSError(f"lookup {host}: no addresses"))

    def _new(self) -> ClientConnection:
        return ClientConnection(self._released, self._names, self._max_head)

    def _refused(self, error: OSError, address: str = "") -> ConnectError:
        """The same failure with the address; errno only where it is the system's (TLS and resolver have numbers of their own)."""
        if isinstance(error, socket.gaierror):
            refused = ConnectError(f"lookup {self._place[0]}: no such host")
        elif error.errno is None or type(error).__module__ == "ssl":
            refused = ConnectError(blamed(str(error)))
        else:
            refused = ConnectError(error.errno, error.strerror or os.strerror(error.errno))
        refused.address = address or self.address
        return refused

    def _released(self, connection: ClientConnection, usable: bool) -> None:
        """A connection's answer is complete, or the connection is gone."""
        if usable and self._closed:
            connection.abort()
        elif usable:
            connection.idle_since = now = asyncio.get_running_loop().time()
            self._idle.append(connection)
            if now - self._idle[0].idle_since > TOO_LONG:
                self._idle.popleft().abort()
            self._wake()
        elif connection in self._open:
            self._open.discard(connection)
            self._free += 1
            if connection in self._idle:
                self._idle.remove(connection)
            self._wake()


async def _resolve(host: str, port: int) -> list[str]:
    """IP addresses of a host; an address is its own (and costs no thread)."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [host]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]
