"""Raw clients for the server's tests: bytes in, bytes out, over a real socket; and a transport in memory for many small cases."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from edge.http1.connection import Connection
from edge.http1.hub import Hub
from edge.http1.messages import Handler, Limits, Request, Response
from edge.http1.server import Server, Tcp, serve

SOON = 5.0


class Memory(asyncio.Transport):
    """A transport that only remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.writes = 0
        self.closed = self.eof = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        self.writes += 1

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Raw:
    """A client that says exactly what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes, pause: float = 0.005) -> None:
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(pause)
            self.writer.write(piece)
            await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower-case) and body of the next answer."""
        async with asyncio.timeout(SOON):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
            status = int(lines[0].split(" ")[1])
            return status, headers, await self._body(headers)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        pieces = []
        while headers.get("transfer-encoding") == "chunked":
            size = int(await self.reader.readline(), 16)
            pieces.append((await self.reader.readexactly(size + 2))[:-2])
            if size == 0:
                break
        return b"".join(pieces)

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        async with asyncio.timeout(SOON):
            return await self.reader.read()

    async def silent(self, seconds: float = 0.05) -> bool:
        """Nothing comes for a while, and the connection stays open."""
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.read(1) is None
        except TimeoutError:
            return True

    def reset(self) -> None:
        """Go away with RST, as a killed process with unread data does."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def connected(handler: Handler, limits: Limits | None = None, **options: Any) -> AsyncIterator[tuple[Raw, Server]]:
    """A server on loopback and one raw client."""
    async with serve(handler, [Tcp("127.0.0.1", 0)], limits or Limits(grace=0.2), **options) as server:
        raw = Raw(*await asyncio.open_connection("127.0.0.1", server.ports[0]))
        try:
            yield raw, server
        finally:
            raw.writer.transport.abort()
            await asyncio.sleep(0)


def run(case: Callable[[], Awaitable[None]]) -> None:
    """Run one asynchronous case."""

    async def whole() -> None:
        await case()

    asyncio.run(whole())


def exchange(data: bytes, handler: Handler | None = None, limits: Limits | None = None, splits: tuple[int, ...] = ()) -> Memory:
    """What a server writes for `data`, cut at `splits`, without sockets."""

    async def whole() -> Memory:
        transport = Memory()
        connection = Connection(Hub(handler or echo, limits or Limits(), None, asyncio.get_running_loop()))
        connection.connection_made(transport)
        for start, end in zip((0, *splits), (*splits, len(data)), strict=True):
            if start < end and not transport.closed:
                connection.data_received(data[start:end])
                for _ in range(4):
                    await asyncio.sleep(0)
        connection.connection_lost(None)
        await asyncio.sleep(0)
        return transport

    return asyncio.run(whole())


async def echo(request: Request) -> Response:
    """The request's line and body come back as the body."""
    return Response(200, [("x-method", request.method)], request.target.encode() + b"|" + await request.body())


def hello(request: Request) -> Response:
    """Always the same."""
    return Response(200, [("content-type", "text/plain")], b"hello")
