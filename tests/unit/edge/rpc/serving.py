"""A gRPC server in a thread for synchronous test clients, and a raw HTTP/2 client that can break every rule."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from edge.rpc import frames
from edge.rpc.connection import Limits
from edge.rpc.hpack import Encoder
from edge.rpc.server import LIMITS, Method, Server, Service, StreamCall, UnaryCall
from edge.rpc.status import RpcError

POST = ((":method", "POST"), (":scheme", "http"), (":authority", "test"), ("content-type", "application/grpc"), ("te", "trailers"))


def echo(call: UnaryCall, message: bytes) -> bytes:
    return message


async def chat(call: StreamCall) -> None:
    async for message in call:
        await call.send(message)


def slow(call: UnaryCall, message: bytes) -> Coroutine[Any, Any, bytes]:
    async def later() -> bytes:
        await asyncio.sleep(float(message))
        return message

    return later()


def refuse(call: UnaryCall, message: bytes) -> bytes:
    raise RpcError(int(call.head.get("code", "9")), call.head.get("text", "nöt % now\n"), b"", [("x-trailer", "t"), ("x-bin", "AQI")])


def meta(call: UnaryCall, message: bytes) -> bytes:
    call.initial = [(key, value) for key, value in call.metadata() if key.startswith("x-")]
    call.trailing = [("x-end", "z")]
    return repr(call.metadata()).encode()


METHODS: dict[str, Method] = {
    "/t/Echo": Method(unary=echo),
    "/t/Slow": Method(unary=slow),
    "/t/Refuse": Method(unary=refuse),
    "/t/Meta": Method(unary=meta),
    "/t/Chat": Method(stream=chat),
}


@contextmanager
def looping(start: Callable[[], Coroutine[Any, Any, Any]]) -> Iterator[Any]:
    """Run `start` on a loop in a thread, yield its result and the loop; cancel what is left at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="serving")
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(10), loop
    finally:
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def serving(
    methods: Mapping[str, Method] | None = None, limits: Limits = LIMITS, **settings: Any
) -> Iterator[tuple[int, Server, asyncio.AbstractEventLoop]]:
    """A server on a free port of 127.0.0.1: (port, server, its loop)."""

    async def start() -> tuple[Server, asyncio.Server]:
        server = Server(Service(METHODS if methods is None else methods, **settings), limits)
        listener = await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1", 0)
        return server, listener

    with looping(start) as ((server, listener), loop):
        try:
            yield listener.sockets[0].getsockname()[1], server, loop
        finally:
            loop.call_soon_threadsafe(listener.close)
            asyncio.run_coroutine_threadsafe(server.drain(0), loop).result(10)


class Raw:
    """A client of bare frames."""

    def __init__(self, port: int, greet: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.encoder = Encoder()
        self._rest = b""
        if greet:
            self.send(frames.PREFACE + frames.settings_frame(()))

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def call(self, stream_id: int, path: str = "/t/Echo", message: bytes | None = b"hi", extra: tuple[tuple[str, str], ...] = ()) -> None:
        """HEADERS, and DATA with the end unless message is None."""
        block = self.encoder.encode(_ordered(path) + extra)
        self.send(frames.header_frames(stream_id, block, 0, frames.MAX_FRAME))
        if message is not None:
            self.send(frames.frame(frames.DATA, frames.END_STREAM, stream_id, len(message).to_bytes(5, "big") + message))

    def read(self) -> tuple[int, int, int, bytes] | None:
        """The next frame: type, flags, stream, payload; None at the end."""
        while len(self._rest) < frames.HEAD_SIZE or len(self._rest) < self._needed():
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._rest += data
        _, _, kind, flags, stream_id = frames.unpack_head(self._rest)
        end = self._needed()
        payload, self._rest = self._rest[frames.HEAD_SIZE : end], self._rest[end:]
        return kind, flags, stream_id, payload

    def _needed(self) -> int:
        high, low, *_ = frames.unpack_head(self._rest)
        return frames.HEAD_SIZE + (high << 8 | low)

    def until(self, kind: int, stream_id: int | None = None) -> tuple[int, int, int, bytes]:
        """Skip to the next frame of that type (and stream)."""
        while (got := self.read()) is not None:
            if got[0] == kind and stream_id in (None, got[2]):
                return got
        raise AssertionError(f"the connection ended before a frame of type {kind}")

    def goodbye(self) -> tuple[int, str] | None:
        """Read to the end: the GOAWAY's code and reason, None without one."""
        found = None
        while (got := self.read()) is not None:
            if got[0] == frames.GOAWAY:
                found = int.from_bytes(got[3][4:8], "big"), got[3][8:].decode()
        return found


def _ordered(path: str) -> tuple[tuple[str, str], ...]:
    return (*POST[:3], (":path", path), *POST[3:])
