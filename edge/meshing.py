"""The mesh of one daemon, wired: names, access lists, endpoints."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from edge.app import App, Parts
from edge.component import Context
from edge.config.plan import Plan
from edge.config.resources import Entry, HttpEndpoint
from edge.config.secrets import Identity as Placeholders
from edge.config.secrets import needs_store, resolve
from edge.database import Database
from edge.datadir import DataDir
from edge.identity.spiffe import Identity
from edge.mesh.access import AccessList
from edge.mesh.names import Names
from edge.mesh.sidecars import HTTP, Mesh
from edge.model import InvokeRequest, InvokeResponse
from edge.settings import DaemonSettings
from edge.tasks import Tasks

if TYPE_CHECKING:
    from edge.channel.endpoints import EndpointChannels

log = logging.getLogger("dapr.runtime")


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
