"""Metadata: what an app's sidecar consists of and how it is connected, gathered for the metadata API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge.app import App, Part, Parts
from edge.model import Subscription
from edge.record import record
from edge.version import DAPR

VERSION_KEY = "daprRuntimeVersion"


@record
class ActorStatus:
    """status: INITIALIZING, DISABLED or RUNNING. active: (type, how many are active) for each hosted type. placement: "" = not shown."""

    status: str = "DISABLED"
    active: Sequence[tuple[str, int]] = ()
    host_ready: bool = False
    placement: str = "placement: disconnected"


@record
class Named:
    """Names of resources that the metadata API only lists."""

    http_endpoints: tuple[str, ...] = ()
    resiliencies: tuple[str, ...] = ()
    mcp_servers: tuple[str, ...] = ()
    workflow_access_policies: tuple[str, ...] = ()


@record
class Metadata:
    """The answer of the metadata API; empty parts are not shown. scheduler: addresses that it is connected to."""

    app: App
    version: str
    features: Sequence[str]
    components: Sequence[Part]
    extended: Mapping[str, str]
    subscriptions: Sequence[Subscription]
    actors: ActorStatus
    scheduler: Sequence[str] = ()
    workers: int = 0
    named: Named = Named()


@dataclass(slots=True)
class Sources:
    """Where what changes comes from; each is asked per call with the app."""

    actors: Callable[[App], ActorStatus] | None = None
    scheduler: Callable[[App], Sequence[str]] | None = None
    workers: Callable[[App], int] | None = None
    named: Callable[[App], Named] | None = None
    notes: Callable[[App], Mapping[str, str]] | None = None
    """What else there is to say in `extended`: what waits or was given up, components that cannot work, a damaged file that was rescued."""


class MetadataService:
    """The metadata API of all apps. features: names of enabled features, as Dapr lists them."""

    def __init__(self, parts: Parts, features: Sequence[str] = (), sources: Sources | None = None) -> None:
        self._parts, self._features = parts, features
        self.sources = sources or Sources()

    def get(self, app: App) -> Metadata:
        """Everything about the app's sidecar, now."""
        sources = self.sources
        return Metadata(
            app=app,
            version=DAPR,
            features=self._features,
            components=self._parts.visible(app),
            extended={**app.extended, **(sources.notes(app) if sources.notes else {}), VERSION_KEY: DAPR},
            subscriptions=app.subscriptions,
            actors=sources.actors(app) if sources.actors else _starting(app),
            scheduler=sources.scheduler(app) if sources.scheduler else (),
            workers=sources.workers(app) if sources.workers else 0,
            named=sources.named(app) if sources.named else Named(),
        )

    def set(self, app: App, key: str, value: str) -> None:
        """Keep an attribute of the app; an empty key is ignored."""
        if key:
            app.extended[key] = value


def _starting(app: App) -> ActorStatus:
    """Without actors: undecided until the app was there."""
    return ActorStatus() if app.ready else ActorStatus("INITIALIZING", placement="")
