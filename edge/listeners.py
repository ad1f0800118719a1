"""The listeners of one app: HTTP at once, gRPC as a socket whose code is imported at the first connection, the public port."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edge.api.http.faces import face, public_face
from edge.app import App, Parts
from edge.blocks import Blocks
from edge.config.configuration import Pipeline
from edge.config.plan import Plan
from edge.errors import ComponentError
from edge.http1.messages import Limits
from edge.http1.server import Listen, Tcp, Unix, bind, retire, serve
from edge.rpc.lazy import Lazy
from edge.settings import AppSettings, is_loopback

log = logging.getLogger("dapr.runtime")
http_log = logging.getLogger("dapr.runtime.http")
grpc_log = logging.getLogger("dapr.runtime.grpc.api")


class ListenError(OSError):
    """No address of a listener could be had; the text is daprd's and says what to do."""


def places(settings: AppSettings, kind: str, port: int) -> list[Listen]:
    """Where an API of the app listens: systemd's sockets, its unix socket, or its port on each address."""
    if sockets := settings.inherited.get(kind):
        return list(sockets)
    if settings.unix_socket_dir:
        return [Unix(str(Path(settings.unix_socket_dir) / f"dapr-{settings.app_id}-{kind}.socket"))]
    return [Tcp(address.strip("[]"), port) for address in settings.listen_addresses]


@asynccontextmanager
async def serve_http(settings: AppSettings, app: App, blocks: Blocks, plan: Plan, parts: Parts) -> AsyncIterator[None]:
    """The HTTP API, HTTP/2 included. Raises ListenError, ComponentError."""
    handler = face(app, blocks, settings, plan.configuration, middleware(plan.configuration.http_pipeline, parts, app))
    limits = Limits(settings.read_buffer_bytes, settings.max_body_bytes)
    try:
        async with serve(handler, places(settings, "http", settings.http_port), limits, h2=_h2) as server:
            for address in server.addresses:
                http_log.info("HTTP server listening on TCP address: %s", address)
            log.info("HTTP server is running on port %d", settings.http_port)
            _warn_open(settings)
            yield
            for address in server.addresses:
                http_log.info("Closing HTTP server %s…", address)
    except OSError as error:
        if isinstance(error, ListenError) or not (error.strerror or "").startswith("listen"):
            raise
        raise ListenError(refused("HTTP", error, "dapr-http-port")) from error


def middleware(pipeline: Pipeline, parts: Parts, app: App) -> list[Any]:
    """The components of a pipeline. Raises ComponentError for one that is not there: without it the API could stand open."""
    found = [(handler.name, parts.find("middleware", handler.name, app)) for handler in pipeline.handlers]
    missing = [name for name, part in found if part is None]
    if missing:
        raise ComponentError(f"the pipeline of the Configuration names middleware that is not loaded: {', '.join(missing)}")
    return [part.component for _, part in found if part is not None]


def refused(name: str, error: OSError, flag: str) -> str:
    """The text of a ListenError."""
    return (
        f"failed to start {name} server: could not listen on any endpoint: {error.strerror or error}; "
        f"stop what listens there, or choose another with --{flag}"
    )


def _warn_open(settings: AppSettings) -> None:
    wide = [a for a in settings.listen_addresses if not is_loopback(a)]
    if wide and not settings.api_token and not settings.unix_socket_dir:
        log.warning(
            "the API of app %s is open on %s without a token: set DAPR_API_TOKEN or DAPR_API_TOKEN_FILE", settings.app_id, ", ".join(wide)
        )


def _h2(handler: Any) -> Any:
    from edge.rpc.http2 import http2  # only when a client speaks HTTP/2

    return http2()(handler)


def _grpc_server(settings: AppSettings, app: App, blocks: Blocks, plan: Plan) -> Any:
    from edge.api.grpc.server import make_server  # protobuf and HTTP/2 come with the first connection

    return make_server(app, blocks, settings, plan.configuration)


@asynccontextmanager
async def serve_grpc(settings: AppSettings, app: App, blocks: Blocks, plan: Plan) -> AsyncIterator[None]:
    """The gRPC API. Raises ListenError."""
    loop = asyncio.get_running_loop()
    lazy = Lazy(lambda: _grpc_server(settings, app, blocks, plan))
    listeners: list[asyncio.Server] = []
    try:
        for place in places(settings, "grpc", settings.grpc_port):
            try:
                bound = bind(place)
            except OSError as error:
                grpc_log.error("Failed to listen for gRPC server on TCP address %s with error: %s", place, error)
                raise ListenError(refused("API gRPC", error, "dapr-grpc-port")) from error
            listeners.append(await loop.create_server(lazy, sock=bound, backlog=1024))
            grpc_log.info("gRPC server listening on TCP address: %s", bound.getsockname())
        log.info("API gRPC server is running on port %d", settings.grpc_port)
        yield
    finally:
        await retire(listeners)
        await lazy.drain(1.0)
        if settings.unix_socket_dir and not settings.inherited.get("grpc"):
            (Path(settings.unix_socket_dir) / f"dapr-{settings.app_id}-grpc.socket").unlink(missing_ok=True)


@asynccontextmanager
async def serve_public(settings: AppSettings, app: App, blocks: Blocks, plan: Plan) -> AsyncIterator[None]:
    """Health and metadata only, without a token, when `--dapr-public-port` is given."""
    if not settings.public_port:
        yield
        return
    place = Tcp(settings.public_listen_address or "127.0.0.1", settings.public_port)
    try:
        async with serve(public_face(app, blocks, plan.configuration), [place], Limits(settings.read_buffer_bytes, -1)):
            yield
    except OSError as error:
        if not (error.strerror or "").startswith("listen"):
            raise
        raise ListenError(refused("public HTTP", error, "dapr-public-port")) from error
