"""Serve HTTP/1.1 on TCP addresses, unix sockets and inherited sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from edge.http1.connection import Connection
from edge.http1.hub import Hub
from edge.http1.messages import Handler, Limits
from edge.http1.upgrade import H2Protocol
from edge.record import record

__all__ = ["H2Protocol", "Listen", "Server", "Tcp", "Unix", "retire", "serve"]

BACKLOG = 1024
TURNS = 3


@record
class Tcp:
    """An address to listen on; port 0 picks one."""

    host: str
    port: int


@record
class Unix:
    """A unix socket to create; mode: its file permissions. A socket file that nobody listens on is replaced."""

    path: str
    mode: int = 0o660


Listen: TypeAlias = "Tcp | Unix | socket.socket"


class Server:
    """Listening sockets and their connections. ports: of the TCP listeners, in the order given."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._listeners: list[asyncio.Server] = []
        self._files: list[Path] = []
        self.addresses: list[str] = []
        self.ports: list[int] = []

    async def open(self, listen: Sequence[Listen]) -> None:
        """Bind everything, then listen. Raises OSError that names the address."""
        with ExitStack() as undo:
            sockets = [undo.enter_context(self._bind(place)) for place in listen]
            undo.pop_all()
        for bound in sockets:
            self._listeners.append(await self._hub.loop.create_server(lambda: Connection(self._hub), sock=bound, backlog=BACKLOG))

    async def close(self, grace: float | None = None) -> None:
        """Stop accepting, let requests in flight end within `grace` seconds (default: limits.grace), then cut the rest off."""
        await retire(self._listeners)
        for path in self._files:
            path.unlink(missing_ok=True)
        await self._hub.close(self._hub.limits.grace if grace is None else grace)

    def _bind(self, place: Listen) -> socket.socket:
        bound = bind(place)
        if isinstance(place, Unix):
            self._files.append(Path(place.path))
        name = bound.getsockname()
        if isinstance(name, tuple):
            self.ports.append(name[1])
            name = join_address(name[0], name[1])
        self.addresses.append(name)
        return bound


@asynccontextmanager
async def serve(
    handler: Handler,
    listen: Sequence[Listen],
    limits: Limits | None = None,
    h2: Callable[[Handler], H2Protocol] | None = None,
) -> AsyncIterator[Server]:
    """Answer requests with `handler` until the block ends; then requests in flight get `limits.grace` seconds.

    h2: makes the protocol for HTTP/2 on the same port (prior knowledge and h2c upgrade), None: HTTP/1 only.
    Raises OSError that names the address ("listen tcp 127.0.0.1:3500: bind: address already in use").
    """
    server = Server(Hub(handler, limits or Limits(), h2, asyncio.get_running_loop()))
    await server.open(listen)
    try:
        yield server
    finally:
        await server.close()


async def retire(listeners: Iterable[asyncio.Server]) -> None:
    """Close listeners and lose nobody whom they accepted.

    asyncio makes a connection's transport a turn of the loop after it accepted; a listener that was closed in between refuses it there,
    and the socket stays open: whoever is at its other end waits for an answer that never comes (3.11).
    """
    loop, listeners = asyncio.get_running_loop(), list(listeners)
    for listener in listeners:
        for bound in listener.sockets:
            loop.remove_reader(bound.fileno())
    for _ in range(TURNS):
        await asyncio.sleep(0)
    for listener in listeners:
        listener.close()


def bind(place: Listen) -> socket.socket:
    """A bound, listening, non-blocking socket. Raises OSError that names the address."""
    match place:
        case Tcp(host, port):
            bound = _bind_tcp(host, port)
        case Unix(path, mode):
            bound = _bind_unix(path, mode)
        case _:
            bound = place
    bound.setblocking(False)
    return bound


def join_address(host: str, port: int) -> str:
    """`host:port`, IPv6 in brackets (as Go's net.JoinHostPort)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind_tcp(host: str, port: int) -> socket.socket:
    try:
        name = host.encode() if host.isascii() else host  # of a str Python would import the IDNA tables, 1 MB
        family, kind, proto, _, address = socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(family, kind, proto)
    except OSError as error:
        raise _named("tcp", join_address(host, port), error) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _named("tcp", join_address(host, port), error) from error
    return bound


def _bind_unix(path: str, mode: int) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        bound.bind(path)
        Path(path).chmod(mode)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _named("unix", path, error) from error
    return bound


def _remove_stale(path: str) -> None:
    """Remove a socket file that a killed process left; one that is served stays, and bind() then fails."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(path) != 0:
            Path(path).unlink()


def _named(network: str, address: str, error: OSError) -> OSError:
    """The same error with Go's words around it."""
    reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
    return OSError(error.errno, f"listen {network} {address}: bind: {reason}")
