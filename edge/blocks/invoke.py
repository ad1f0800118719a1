"""Service invocation: from a name to an answer. The own app, an app of this daemon, an HTTP endpoint, or another sidecar.

Source: dapr pkg/messaging/direct_messaging.go @1.18.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from edge import errors
from edge.app import App, AppUnavailable
from edge.blocks.names import normal_method
from edge.errors import EdgeError
from edge.model import InvokeRequest, InvokeResponse

if TYPE_CHECKING:
    from edge.rpc.client import Channel

URLS = ("http://", "https://")


class Endpoints(Protocol):
    """HTTPEndpoint resources and plain URLs."""

    def known(self, app: App, name: str) -> bool: ...

    async def invoke(self, app: App, target: str, request: InvokeRequest) -> InvokeResponse:
        """Raises AppUnavailable."""
        ...


class Sidecars(Protocol):
    """Apps behind other sidecars, of this daemon or elsewhere."""

    async def invoke(self, app: App, app_id: str, namespace: str, request: InvokeRequest) -> InvokeResponse:
        """Raises AppUnavailable, EdgeError (403 of the callee's access control)."""
        ...

    async def grpc_target(self, app: App, app_id: str, namespace: str) -> GrpcTarget:
        """Raises AppUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class GrpcTarget:
    """Where a gRPC call is passed on to, and the metadata it needs on that way."""

    channel: Channel
    metadata: Sequence[tuple[str, str]] = ()


class InvokeService:
    """The invocation API of all apps."""

    def __init__(self, endpoints: Endpoints | None = None, sidecars: Sidecars | None = None) -> None:
        self.endpoints, self.sidecars = endpoints, sidecars

    async def invoke(self, app: App, target: str, request: InvokeRequest) -> InvokeResponse:
        """Call a method of `target`: an app id, `<app-id>.<namespace>`, an HTTPEndpoint's name, or a URL.

        request.path: unescaped. The answer's body may be a stream that has to be read or closed.
        Raises EdgeError DIRECT_INVOKE for everything that is not the target's own answer.
        """
        try:
            return await self._invoke(app, target, request)
        except AppUnavailable as error:
            text = str(error).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            raise EdgeError(errors.DIRECT_INVOKE, app=target, error=text) from error

    async def grpc_target(self, app: App, target: str) -> GrpcTarget:
        """Where a gRPC call for `target` goes. Raises AppUnavailable."""
        app_id, namespace = _split(app, target)
        if self.sidecars is None:
            raise AppUnavailable("no host found with the given ID")
        return await self.sidecars.grpc_target(app, app_id, namespace)

    async def _invoke(self, app: App, target: str, request: InvokeRequest) -> InvokeResponse:
        request = _normal(request)
        if self.endpoints is not None and (target.startswith(URLS) or self.endpoints.known(app, target)):
            return await self.endpoints.invoke(app, target, request)
        app_id, namespace = _split(app, target)
        if app_id == app.id and namespace == app.namespace:
            return await invoke_own(app, request)
        if self.sidecars is None:
            raise AppUnavailable("no host found with the given ID")
        return await self.sidecars.invoke(app, app_id, namespace, request)


async def invoke_own(app: App, request: InvokeRequest) -> InvokeResponse:
    """Straight to the app's channel. Raises AppUnavailable."""
    if app.channel is None:
        raise AppUnavailable("cannot invoke local endpoint: app channel not initialized")
    return await app.channel.invoke(request)


def _normal(request: InvokeRequest) -> InvokeRequest:
    try:
        path = normal_method(request.path)
    except ValueError as error:
        raise AppUnavailable(f"rpc error: code = InvalidArgument desc = invalid method: {error}") from None
    return request if path == request.path else replace(request, path=path)


def _split(app: App, target: str) -> tuple[str, str]:
    """App id and namespace of a target."""
    parts = target.split(".")
    match parts:
        case [""]:
            raise AppUnavailable("app id is empty")
        case [app_id]:
            return app_id, app.namespace
        case [app_id, namespace]:
            return app_id, namespace
        case _:
            raise AppUnavailable(f"invalid app id {target}")


def hosted(apps: Mapping[str, App], app_id: str, namespace: str) -> App | None:
    """The app of that name in this daemon."""
    app = apps.get(app_id)
    return app if app is not None and app.namespace == namespace else None
