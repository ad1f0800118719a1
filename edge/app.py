"""An app as the daemon sees it, the channel by which it is called, and the open components that it may use.

The caller's `App` is the first argument of every block: the listener is the identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from edge.model import (
    NO_METADATA,
    Address,
    BindingEvent,
    BindingResult,
    BulkTopicEvent,
    ConfigItem,
    InvokeRequest,
    InvokeResponse,
    JobEvent,
    Status,
    Subscription,
    TopicEvent,
)
from edge.record import record

if TYPE_CHECKING:
    from edge.telemetry.metrics import Metrics
    from edge.telemetry.spans import Tracer


class AppUnavailable(Exception):
    """The app could not be reached or broke the connection; the text is what Dapr would say (`dial tcp …: connection refused`).

    sent: the request had left when the connection broke, so the app may have seen it (it counts as an attempt).
    """

    def __init__(self, text: str, *, sent: bool = False) -> None:
        self.sent = sent
        super().__init__(text)


class AppRefused(Exception):
    """The app answered a binding event or a configuration update with a failure; code: HTTP status or gRPC code."""

    def __init__(self, text: str, code: int) -> None:
        self.code = code
        super().__init__(text)


@record
class Delivery:
    """The app's verdict on one event. dead_letter: False where Dapr drops without a dead letter (gRPC Unimplemented).

    code: HTTP status or gRPC code of the answer for retry policies that match codes, 0 = none.
    """

    status: Status
    reason: str = ""
    dead_letter: bool = True
    code: int = 0


@record
class ActorConfig:
    """What `GET /dapr/config` says, parsed by the actor block; `raw` is its JSON object ({} when absent or invalid)."""

    raw: Mapping[str, Any] = field(default_factory=dict)


@record
class Callback:
    """An actor callback of an HTTP app. path: the request target. headers: lower-case names; what is hop by hop is not passed on."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str | None = None


class AppChannel(Protocol):
    """How the runtime calls the app. Every call raises AppUnavailable when the transport fails; none logs per message.

    trigger and configuration_changed raise AppRefused when the app answers with a failure.
    probe_failure: why `healthy` last said no, in Dapr's words.
    """

    probe_failure: str

    async def reachable(self) -> bool: ...
    async def invoke(self, request: InvokeRequest) -> InvokeResponse: ...
    async def deliver(self, event: TopicEvent) -> Delivery: ...
    async def deliver_bulk(self, batch: BulkTopicEvent) -> dict[str, Delivery]: ...
    async def subscriptions(self) -> list[Subscription]: ...
    async def config(self) -> ActorConfig: ...
    async def wants_binding(self, name: str, route: str, timeout: float) -> bool: ...
    async def trigger(self, name: str, route: str, event: BindingEvent) -> BindingResult: ...
    async def configuration_changed(self, store: str, key: str, subscription: str, items: Mapping[str, ConfigItem]) -> None: ...
    async def trigger_job(self, event: JobEvent) -> Delivery: ...
    async def call(self, callback: Callback) -> InvokeResponse: ...
    async def healthy(self, path: str, timeout: float) -> bool: ...
    async def close(self) -> None: ...


@dataclass(slots=True)
class AppHealthCheck:
    """Settings of `--enable-app-health-check` (seconds)."""

    path: str = "/healthz"
    interval: float = 5.0
    timeout: float = 0.5
    threshold: int = 3


@dataclass(slots=True)
class App:
    """One hosted app. port 0 = no channel. tokens: what callers must send / what the app is sent; "" = none.

    namespace: as used in names; `namespace_set` says whether env NAMESPACE was there. metrics, tracer: None when they are off.
    """

    id: str
    namespace: str = "default"
    namespace_set: bool = False
    port: int = 0
    protocol: str = "http"
    channel_address: str = "127.0.0.1"
    max_concurrency: int = -1
    max_body_bytes: int = 4 << 20
    read_buffer_bytes: int = 4 << 10
    api_token: str = field(default="", repr=False)
    app_token: str = field(default="", repr=False)
    health_check: AppHealthCheck | None = None
    channel: AppChannel | None = None
    healthy: bool = False
    ready: bool = False
    outbound_ready: bool = False
    mtls: bool = False
    extended: dict[str, str] = field(default_factory=dict)
    subscriptions: list[Subscription] = field(default_factory=list)
    internal_address: Address | None = None
    metrics: Metrics | None = None
    tracer: Tracer | None = None


@record
class Part:
    """One open component. properties: its metadata with secrets resolved (lower-case keys), for the runtime-level fields that a
    block reads (`keyprefix`, `publishingscopes`, `route`…); never logged. capabilities: as the metadata API shows them.
    secret_names: of a property that came through a secretKeyRef, that secret's name (encryption stores it beside each value).
    """

    name: str
    type: str
    version: str
    component: Any
    properties: Mapping[str, str] = field(default=NO_METADATA, repr=False)
    scopes: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    secret_names: Mapping[str, str] = NO_METADATA

    @property
    def kind(self) -> str:
        """`state` of `state.sqlite`."""
        return self.type.partition(".")[0]

    def visible_to(self, app: App) -> bool:
        """No scopes = every app."""
        return not self.scopes or app.id in self.scopes


class Parts:
    """The open components by kind and name, in the order they were loaded."""

    def __init__(self, parts: Iterable[Part] = ()) -> None:
        self._by_kind: dict[str, dict[str, Part]] = {}
        self._loaded: dict[tuple[str, str], Part] = {}
        for part in parts:
            self.add(part)

    def add(self, part: Part) -> None:
        self._by_kind.setdefault(part.kind, {})[part.name] = part
        self._loaded[part.kind, part.name] = part

    def remove(self, kind: str, name: str) -> Part | None:
        self._loaded.pop((kind, name), None)
        return self._by_kind.get(kind, {}).pop(name, None)

    def find(self, kind: str, name: str, app: App) -> Part | None:
        """The component of that kind and exact name, if this app may see it."""
        part = self._by_kind.get(kind, {}).get(name)
        return part if part is not None and (not part.scopes or app.id in part.scopes) else None

    def of(self, kind: str, app: App) -> list[Part]:
        return [part for part in self._by_kind.get(kind, {}).values() if part.visible_to(app)]

    def all(self, kind: str) -> list[Part]:
        """Every component of a kind, whoever may see it."""
        return list(self._by_kind.get(kind, {}).values())

    def any(self, kind: str, app: App) -> bool:
        return any(part.visible_to(app) for part in self._by_kind.get(kind, {}).values())

    def visible(self, app: App) -> list[Part]:
        """Everything this app may see, in load order."""
        return [part for part in self._loaded.values() if part.visible_to(app)]
