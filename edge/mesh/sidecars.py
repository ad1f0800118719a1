"""Invocation of apps that are not the caller's own: hosted here without a network hop, else through the other sidecar's internal port.

Either way the callee's access list decides, and the app sees the same. Source: dapr pkg/api/grpc/daprinternal.go, pkg/messaging @1.18.3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from edge.app import App, AppUnavailable
from edge.blocks.invoke import GrpcTarget, InvokeFailed, invoke_own
from edge.blocks.names import normal_method
from edge.blocks.traced import taken
from edge.errors import Grpc
from edge.identity.spiffe import Identity
from edge.mesh.access import NO_VERB, AccessList
from edge.mesh.forwarded import Origin
from edge.mesh.names import Names, Served
from edge.model import InvokeRequest, InvokeResponse

if TYPE_CHECKING:
    import ssl

    from edge.mesh.remote import Remotes
    from edge.rpc.client import Channel

HTTP = ("http", "https", "h2c")
TOKEN = "dapr-api-token"
CALLER = "dapr-caller-app-id"
UNARY = "unary"


def _status(answer: InvokeResponse) -> int:
    """Of HTTP or gRPC, as the app speaks."""
    return answer.status if answer.grpc_status is None else answer.grpc_status[0]


class Mesh:
    """Implements `edge.blocks.invoke.Sidecars` for all apps of the daemon.

    apps: those hosted here. access: an app's access list. identity: how an app of this daemon is known to access lists.
    """

    def __init__(
        self,
        apps: Callable[[], Sequence[App]],
        names: Names,
        access: Callable[[App], AccessList],
        identity: Callable[[App], Identity],
    ) -> None:
        self._apps, self.names, self._access, self._identity = apps, names, access, identity
        self._trusted: dict[str, ssl.SSLContext] = {}
        self._certified: dict[str, Identity] = {}
        self._origin = Origin()
        self._remotes: Remotes | None = None
        self._links: dict[str, Any] = {}

    async def invoke(self, app: App, app_id: str, namespace: str, request: InvokeRequest) -> InvokeResponse:
        """Raises AppUnavailable, InvokeFailed."""
        if (metrics := app.metrics) is None:
            return await self._invoke(app, app_id, namespace, request)
        began = time.perf_counter()
        answer = await self._invoke(app, app_id, namespace, request)
        status = str(_status(answer))
        metrics.count("runtime_service_invocation_res_recv_total", (app_id, status, UNARY))
        metrics.took("runtime_service_invocation_res_recv_latency_ms", (app_id, status), (time.perf_counter() - began) * 1000)
        return answer

    async def _invoke(self, app: App, app_id: str, namespace: str, request: InvokeRequest) -> InvokeResponse:
        callee = self.hosted(app_id, namespace)
        carrier = None if callee is not None else await self.names.carrier()
        address = None if callee is not None or carrier is not None else await self.names.resolve(app_id, namespace)
        if app.metrics is not None:  # a target that nobody knows is sent nothing
            app.metrics.count("runtime_service_invocation_req_sent_total", (app_id, UNARY))
        request = replace(request, headers=self._origin.stamped(request.headers, app, app_id))
        if callee is not None:
            return await self.deliver(callee, self._known_as(app), request)
        if carrier is not None:
            from edge.mesh import carried  # protobuf comes with the first call

            return await carried.call(carrier, app, app_id, namespace, request)
        assert address is not None
        from edge.mesh import remote  # protobuf and HTTP/2 come with the first call of another sidecar

        try:
            return await remote.call(await self._connections().channel(app, address, app_id, namespace), request)
        except InvokeFailed as error:
            if error.code in (Grpc.UNAVAILABLE, Grpc.UNAUTHENTICATED):
                self.names.forget(app_id, address)
            raise

    async def deliver(self, callee: App, caller: Identity | None, request: InvokeRequest) -> InvokeResponse:
        """Call a hosted app for another app. Raises InvokeFailed with the texts of daprd's internal server."""
        if (metrics := callee.metrics) is None:
            return await self._deliver(callee, caller, request)
        source = next((value for name, value in request.headers if name == CALLER), "")
        metrics.count("runtime_service_invocation_req_recv_total", (source,))
        status = "500"
        try:
            answer = await self._deliver(callee, caller, request)
            status = str(_status(answer))
            return answer
        finally:
            metrics.count("runtime_service_invocation_res_sent_total", (source, status))

    async def _deliver(self, callee: App, caller: Identity | None, request: InvokeRequest) -> InvokeResponse:
        if callee.channel is None:
            raise InvokeFailed(Grpc.INTERNAL, "app channel is not initialized")
        path = _normal(request.path)
        self.admit(callee, caller, path, (callee.protocol in HTTP and request.method) or NO_VERB)
        try:
            return await taken(callee, replace(request, path=path), partial(invoke_own, callee))
        except AppUnavailable as error:
            raise InvokeFailed(Grpc.INTERNAL, f"error invoking app channel: {error}") from None

    def served(self, app: App) -> Served:
        """How calls of a hosted app that a carrier brings are answered."""

        async def answer(data: bytes) -> bytes:
            from edge.mesh import carried  # protobuf comes with the first call

            return await carried.answered(self, app, data)

        return app.namespace, answer

    def admit(self, callee: App, caller: Identity | None, method: str, verb: str) -> None:
        """Raises InvokeFailed PERMISSION_DENIED when the callee's access list does not let the caller do that."""
        access = self._access(callee)
        if access.open:
            return
        why = access.denied(caller, method, verb)
        if (metrics := callee.metrics) is not None and caller is not None:
            level, verdict = "app" if access.names(caller) else "global", "allowed" if why is None else "blocked"
            about = (caller.app_id, caller.trust_domain, caller.namespace)
            metrics.count(f"runtime_acl_{level}_policy_action_{verdict}_total", about)
        if why is not None:
            raise InvokeFailed(Grpc.PERMISSION_DENIED, why)

    # --- gRPC calls, passed on as they are
    async def grpc_target(self, app: App, app_id: str, namespace: str, method: str) -> GrpcTarget:
        """Raises AppUnavailable, InvokeFailed."""
        if app_id == app.id and namespace == app.namespace:
            _normal(method)
            return self.own_target(app)
        ids = (("dapr-caller-app-id", app.id), ("dapr-callee-app-id", app_id))
        callee = self.hosted(app_id, namespace)
        if callee is not None:
            return self.hosted_target(callee, self._known_as(app), method, ids)
        if (carrier := await self.names.carrier()) is not None:
            from edge.mesh.carried import CarriedChannel

            return GrpcTarget(CarriedChannel(carrier, app_id, namespace), ids)
        address = await self.names.resolve(app_id, namespace)
        return GrpcTarget(await self._connections().channel(app, address, app_id, namespace), ids)

    def hosted_target(self, callee: App, caller: Identity | None, method: str, fields: Sequence[tuple[str, str]] = ()) -> GrpcTarget:
        """A hosted app as the target of another app's call. Raises InvokeFailed."""
        self.admit(callee, caller, _normal(method), NO_VERB)
        return replace(self.own_target(callee), metadata=(*fields, *self.own_target(callee).metadata))

    def own_target(self, app: App) -> GrpcTarget:
        """The app itself, whatever it speaks."""
        token = ((TOKEN, app.app_token),) if app.app_token else ()
        return GrpcTarget(self.link(app), token, local=True)

    def link(self, app: App) -> Channel:
        """The connection with a hosted app, for calls of its own gRPC services."""
        found: Channel | None = self._links.get(app.id)
        if found is None:
            from edge.channel.tls import unverified
            from edge.rpc.client import Channel, Target
            from edge.telemetry.rpcs import client

            tls = unverified("h2") if app.protocol in ("grpcs", "https") else None
            limit = app.max_body_bytes
            target = Target(app.channel_address, app.port, tls=tls)
            found = self._links[app.id] = Channel(target, max_receive=limit, max_send=limit)
            found.told = client(app.metrics)
        return found

    # --- mutual TLS
    def trust(self, app: App, context: ssl.SSLContext, identity: Identity | None = None) -> None:
        """From now on the app speaks to other sidecars with this certificate, and is known by it to apps of this daemon."""
        self._trusted[app.id] = context
        if identity is not None:
            self._certified[app.id] = identity

    def _known_as(self, app: App) -> Identity:
        return self._certified.get(app.id) or self._identity(app)

    def _secured(self, app: App) -> ssl.SSLContext | None:
        found = self._trusted.get(app.id)
        if found is None and app.mtls:
            raise AppUnavailable("this sidecar has no certificate yet; see its log")
        return found

    # --- helpers
    def hosted(self, app_id: str, namespace: str) -> App | None:
        """The app of that name in this daemon."""
        return next((app for app in self._apps() if app.id == app_id and app.namespace == namespace), None)

    def connections(self) -> Remotes:
        """The connections to other sidecars."""
        return self._connections()

    def _connections(self) -> Remotes:
        if self._remotes is None:
            from edge.mesh.remote import Remotes

            self._remotes = Remotes(self._secured)
        return self._remotes

    async def close(self) -> None:
        """End connections, take back announcements."""
        await self.names.close()
        if self._remotes is not None:
            await self._remotes.close()
        for link in self._links.values():
            await link.close()


def _normal(method: str) -> str:
    """Raises InvokeFailed."""
    try:
        return normal_method(method)
    except ValueError as error:
        raise InvokeFailed(Grpc.INVALID_ARGUMENT, f"invalid method: {error}") from None
