"""Serve HTTP/1.1 on TCP addresses, unix sockets and inherited sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from edge.http1.messages import Handler, Limits, Request


@dataclass(frozen=True, slots=True)
class Tcp:
    """An address to listen on; port 0 picks one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Unix:
    """A unix socket to create; mode: its file permissions."""

    path: str
    mode: int = 0o660


Listen: TypeAlias = "Tcp | Unix | socket.socket"


class H2Protocol(Protocol):
    """What `h2(handler)` must return: an asyncio.Protocol that serves HTTP/2 on a transport that is already connected.

    After the preface: connection_made(transport), then data_received(everything read so far, the preface included).
    After an h2c upgrade (the 101 is written): connection_made(transport), upgraded(request, settings), then data_received(rest).
    On close of the server: shutdown(), which sends GOAWAY, lets streams finish and closes the transport when none is left.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def upgraded(self, request: Request, settings: bytes) -> None: ...
    def shutdown(self) -> None: ...


class Server:
    """Listening sockets and their connections."""

    addresses: list[str]  # "127.0.0.1:3500" or "/run/dapr-a-http.socket"
    ports: list[int]  # of the TCP listeners, in order


@asynccontextmanager
async def serve(
    handler: Handler,
    listen: Sequence[Listen],
    limits: Limits | None = None,
    h2: Callable[[Handler], H2Protocol] | None = None,
) -> AsyncIterator[Server]:
    """Answer requests with `handler` until the block ends; then requests in flight get `limits.grace` seconds.

    Raises OSError that names the address ("listen tcp 127.0.0.1:3500: bind: address already in use").
    """
    raise NotImplementedError
    yield
