"""The mesh of one daemon, wired: names, access lists, endpoints, internal ports."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.app import App, Parts
from edge.blocks import Blocks
from edge.component import Context
from edge.config.plan import Plan
from edge.config.resources import Entry, HttpEndpoint
from edge.config.secrets import Identity as Placeholders
from edge.config.secrets import needs_store, resolve
from edge.database import Database
from edge.datadir import DataDir
from edge.http1.server import Tcp, bind
from edge.mesh.access import AccessList, Identity
from edge.mesh.forwarded import host_address
from edge.mesh.names import Names
from edge.mesh.sidecars import HTTP, Mesh
from edge.model import Address, InvokeRequest, InvokeResponse
from edge.rpc.lazy import Lazy
from edge.settings import AppSettings, DaemonSettings
from edge.tasks import Tasks

if TYPE_CHECKING:
    from edge.channel.endpoints import EndpointChannels

log = logging.getLogger("dapr.runtime")
internal_log = logging.getLogger("dapr.runtime.grpc.internal")
FIRST_PORT, LAST_PORT = 47300, 65535
WILD = ("", "0.0.0.0", "::")


def make_mesh(
    plan: Plan, database: Database, tasks: Tasks, settings: DaemonSettings, data: DataDir, apps: Callable[[], Sequence[App]]
) -> Mesh:
    """Nothing is opened yet. Raises AccessError for an access list that can't be used."""
    spec = plan.configuration.access_control
    lists = {True: AccessList(spec, http=True), False: AccessList(spec, http=False)}
    ids = tuple(app.app_id for app in settings.apps)
    namespace = (settings.apps[0].namespace if settings.apps else "") or "default"

    async def own() -> Database:
        return database

    def lend(name: str) -> Context:
        return Context(name, ids, namespace, data.path, tasks, own, working_dir=settings.working_dir)

    return Mesh(
        apps,
        Names(plan.configuration.name_resolution, lend),
        lambda app: lists[app.protocol in HTTP],
        lambda app: Identity(spec.trust_domain or "public", app.namespace, app.id),
    )


class Endpoints:
    """HTTPEndpoint resources and URLs; the code that calls them comes with the first call. Implements `edge.blocks.invoke.Endpoints`."""

    def __init__(self, plan: Plan, parts: Parts, settings: DaemonSettings) -> None:
        self._named = {endpoint.name: endpoint for endpoint in plan.http_endpoints}
        self._parts, self._apps = parts, settings.apps
        self._made: EndpointChannels | None = None

    def base(self, app: App, name: str) -> str | None:
        """The base URL of an HTTPEndpoint that the app may use."""
        found = self._named.get(name)
        return found.base_url if found is not None and (not found.scopes or app.id in found.scopes) else None

    async def invoke(self, app: App, target: str, request: InvokeRequest) -> InvokeResponse:
        """Raises AppUnavailable."""
        if self._made is None:
            from edge.channel.endpoints import EndpointChannels

            self._made = EndpointChannels(self._texts)
        return await self._made.invoke(target, self._named.get(target), request)

    async def close(self) -> None:
        """End all connections."""
        if self._made is not None:
            await self._made.close()

    async def _texts(self, endpoint: HttpEndpoint, entries: Sequence[Entry]) -> Mapping[str, str]:
        """Values, environment and secrets of an endpoint's entries."""
        store = None
        if needs_store(entries):
            found = [part for part in self._parts.all("secretstores") if part.name == endpoint.secret_store]
            if not found:
                log.warning("http endpoint %s references a secret store that isn't loaded: %s", endpoint.name, endpoint.secret_store)
            store = found[0].component if found else None
        app = self._apps[0] if self._apps else None
        identity = Placeholders(app.app_id if app else "", (app.namespace if app else "") or "default", os.environ.get("POD_NAME", ""))
        return await resolve(f"HTTPEndpoint {endpoint.name}", entries, store, os.environ, identity, endpoint.namespace)


@asynccontextmanager
async def serve_internal(settings: AppSettings, app: App, blocks: Blocks, mesh: Mesh, tasks: Tasks) -> AsyncIterator[None]:
    """The port that other sidecars call, announced by name; its code comes with the first connection. Raises OSError."""
    loop = asyncio.get_running_loop()
    lazy = Lazy(lambda: _server(app, blocks, mesh))
    listeners: list[asyncio.Server] = []
    addresses = listen_addresses(settings)
    try:
        port = settings.internal_grpc_port
        for address in addresses:
            bound = _bound(address, port, settings)
            port = bound.getsockname()[1]
            listeners.append(await loop.create_server(lazy, sock=bound, backlog=256))
            internal_log.info("gRPC server listening on TCP address: %s", bound.getsockname())
        log.info("internal gRPC server is running on port %d", port)
        about = {"app_port": str(settings.app_port), "http_port": str(settings.http_port)}
        tasks.start(f"announce[{app.id}]", mesh.names.announce(app.id, Address(announced(addresses), port, about)))
        yield
    finally:
        for listener in listeners:
            listener.close()
        await lazy.drain(1.0)


def _server(app: App, blocks: Blocks, mesh: Mesh) -> Any:
    from edge.api.grpc.internal import make_internal_server  # protobuf and HTTP/2 come with the first connection

    return make_internal_server(app, blocks, mesh, lambda call: None)


def listen_addresses(settings: AppSettings) -> tuple[str, ...]:
    """Where the internal port listens: as told, else where the APIs do (loopback unless somebody opened them)."""
    given = tuple(a.strip().strip("[]") for a in settings.internal_listen_address.split(",") if a.strip())
    return given or tuple(a.strip("[]") for a in settings.listen_addresses)


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
