"""The port of one app that other sidecars call: listening, mutual TLS with a certificate that is renewed, announced by name.

With mTLS the port listens on every address, as everyone who calls has to show a certificate; without, where the APIs listen: on loopback
unless somebody opened them. $DAPR_TRUST_ANCHORS, --sentry-address: see edge/identity/source.py.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.app import App
from edge.blocks import Blocks
from edge.errors import ComponentError
from edge.http1.server import Tcp, bind, retire
from edge.listeners import ListenError, refused
from edge.mesh.forwarded import host_address
from edge.mesh.sidecars import Mesh
from edge.model import Address
from edge.rpc.lazy import Lazy
from edge.settings import AppSettings
from edge.tasks import Tasks

if TYPE_CHECKING:
    import ssl

    from edge.identity.credentials import Credentials
    from edge.identity.source import Keeper

log = logging.getLogger("dapr.runtime")
internal_log = logging.getLogger("dapr.runtime.grpc.internal")
FIRST_PORT, LAST_PORT = 47300, 65535
WILD = ("", "0.0.0.0", "::")
FIRST_RETRY, LONGEST_RETRY = 1.0, 30.0
ANNOUNCED_WITHIN = 0.25
"""Seconds that a start waits for a table of names, which may be away as everything may."""


class InternalPort:
    """Listeners of one app; each new certificate is for the connections that come after it."""

    def __init__(self, settings: AppSettings, app: App, blocks: Blocks, mesh: Mesh) -> None:
        self._settings, self._app, self._mesh = settings, app, mesh
        self._lazy = Lazy(lambda: _server(app, blocks, mesh, mtls=settings.mtls))
        self._sockets: list[socket.socket] = []
        self._listeners: list[asyncio.Server] = []

    def bind(self) -> Address:
        """Take the port; what others are told. Raises OSError."""
        port, addresses = self._settings.internal_grpc_port, listen_addresses(self._settings)
        for address in addresses:
            try:
                bound = _bound(address, port, self._settings)
            except OSError as error:
                if not self._sockets or address != os.environ.get("DAPR_HOST_IP"):
                    raise
                text = "DAPR_HOST_IP %s is announced, but is no address of this machine: the internal port is not open there (%s)"
                log.warning(text, address, error)
                continue
            port = bound.getsockname()[1]
            self._sockets.append(bound)
        about = {"app_port": str(self._settings.app_port), "http_port": str(self._settings.http_port)}
        return Address(announced(addresses), port, about)

    async def listen(self, tls: ssl.SSLContext | None) -> None:
        """Serve from now on with this certificate; connections that are there stay."""
        loop = asyncio.get_running_loop()
        old, self._listeners = self._listeners, []
        for bound in self._sockets:
            again = bound.dup()
            again.setblocking(False)
            self._listeners.append(await loop.create_server(self._lazy, sock=again, backlog=256, ssl=tls))
        await retire(old)
        if not old:
            for bound in self._sockets:
                internal_log.info("gRPC server listening on TCP address: %s", bound.getsockname())

    async def renewed(self, credentials: Credentials) -> None:
        """The app has a new certificate."""
        from edge.identity.ca import identity_in  # cryptography is here already

        self._mesh.trust(self._app, credentials.client(), identity_in(credentials.chain.encode()))
        await self.listen(credentials.server())

    async def close(self) -> None:
        """Let calls under way finish within a second."""
        await retire(self._listeners)
        for bound in self._sockets:
            bound.close()
        await self._lazy.drain(1.0)


@asynccontextmanager
async def serve_internal(settings: AppSettings, app: App, blocks: Blocks, mesh: Mesh, tasks: Tasks) -> AsyncIterator[None]:
    """The port is open and announced; without a certificate from Sentry as soon as there is one. Raises ListenError, IdentityError."""
    port = InternalPort(settings, app, blocks, mesh)
    try:
        try:
            address = app.internal_address = port.bind()
        except OSError as error:
            raise ListenError(refused("internal gRPC", error, "dapr-internal-grpc-port")) from error
        if settings.mtls:
            await _secured(settings, app, port, tasks)
        else:
            await port.listen(None)
        log.info("internal gRPC server is running on port %d", address.port)
        _warn_open(settings, address)
        announcing = tasks.start(f"announce[{app.id}]", mesh.names.announce(app.id, address, mesh.served(app)))
        if mesh.names.prompt:  # who is told that we are up may call us by name
            await asyncio.wait((announcing,), timeout=ANNOUNCED_WITHIN)
        yield
    finally:
        await port.close()


def _warn_open(settings: AppSettings, address: Address) -> None:
    if not settings.mtls and address.host != "::1" and not address.host.startswith("127."):
        text = "the internal port of app %s is open on %s:%d without mTLS: who reaches it may invoke the app; use --enable-mtls"
        log.warning(text, settings.app_id, address.host, address.port)


async def _secured(settings: AppSettings, app: App, port: InternalPort, tasks: Tasks) -> None:
    from edge.identity.source import Folder, Keeper, source_of  # OpenSSL, only with mTLS

    source = source_of(app.id, app.namespace, settings.sentry_address, os.environ)
    keeper = Keeper(source, port.renewed)
    if isinstance(source, Folder):
        await port.renewed(await keeper.first())
        tasks.spawn(f"certificate[{app.id}]", keeper.run)
    else:
        tasks.spawn(f"certificate[{app.id}]", lambda: _first(keeper, port))


async def _first(keeper: Keeper, port: InternalPort) -> None:
    """A device may start before its network: the first certificate is asked for until it comes."""
    delay = FIRST_RETRY
    while keeper.held is None:
        try:
            await port.renewed(await keeper.first())
        except ComponentError as error:
            log.error("no certificate yet, other sidecars can't be called: %s", error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_RETRY)
    await keeper.run()


def _server(app: App, blocks: Blocks, mesh: Mesh, *, mtls: bool) -> Any:
    from edge.api.grpc.internal import make_internal_server  # protobuf and HTTP/2 come with the first connection

    if not mtls:
        return make_internal_server(app, blocks, mesh, lambda call: None)
    from edge.identity.credentials import peer_identity

    return make_internal_server(app, blocks, mesh, lambda call: peer_identity(call.connection.transport))


def listen_addresses(settings: AppSettings) -> tuple[str, ...]:
    """Where the internal port listens: as told, else everywhere with mTLS, else where the APIs do and on $DAPR_HOST_IP."""
    given = tuple(a.strip().strip("[]") for a in settings.internal_listen_address.split(",") if a.strip())
    if given or settings.mtls:
        return given or ("",)
    apis = tuple(a.strip("[]") for a in settings.listen_addresses)
    host = os.environ.get("DAPR_HOST_IP", "")
    return (*apis, host) if host and host not in apis and not set(apis) & set(WILD) else apis


def announced(addresses: Sequence[str]) -> str:
    """The address that others are told."""
    if any(address in WILD for address in addresses):
        return host_address()
    numeric = ["127.0.0.1" if address == "localhost" else address for address in addresses]
    return next((address for address in numeric if not address.startswith("127.") and address != "::1"), numeric[0])


def _bound(address: str, port: int, settings: AppSettings) -> socket.socket:
    if port:
        return bind(Tcp(address, port))
    try:
        return bind(Tcp(address, usual_port(settings.app_id)))
    except OSError:  # another sidecar of the same app and folder
        return bind(Tcp(address, 0))


def usual_port(app_id: str) -> int:
    """The same port at each start, so that others find the app where it was."""
    text = f"{app_id}|{Path.cwd()}|{os.getuid()}|{socket.gethostname()}"
    return FIRST_PORT + zlib.crc32(text.encode()) % (LAST_PORT - FIRST_PORT)
