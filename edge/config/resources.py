"""Component, Subscription and HTTPEndpoint resources as frozen data, each knowing its file and line.

Source: dapr pkg/apis (types.go of each kind); field names as in Dapr's resource reference.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from edge.model import Subscription
from edge.record import record
from edge.resiliency import Rules

INIT_TIMEOUT = 5.0
INITIAL_VERSIONS = ("", "v0", "v1")


@record
class Entry:
    """One name/value pair. value: None = not given, then env; secret: name and key in the resource's secret store, ("", "") = none."""

    name: str
    value: str | None = field(default=None, repr=False)
    secret: tuple[str, str] = ("", "")
    env: str = ""
    line: int = field(default=0, compare=False)


@record
class Component:
    """A Component resource. init_timeout: seconds. where: file:line. file: for the lines of its entries."""

    name: str
    type: str
    version: str = "v1"
    namespace: str = ""
    metadata: tuple[Entry, ...] = ()
    scopes: tuple[str, ...] = ()
    init_timeout: float = INIT_TIMEOUT
    ignore_errors: bool = False
    secret_store: str = ""
    where: str = field(default="", compare=False)
    file: str = field(default="", compare=False)
    type_line: int = field(default=0, compare=False)

    @property
    def log_name(self) -> str:
        """`orders (state.sqlite/v1)`."""
        return f"{self.name} ({self.type}/{self.version})" if self.version else f"{self.name} ({self.type})"

    @property
    def kind(self) -> str:
        """`state` of `state.sqlite`."""
        return self.type.lower().partition(".")[0]

    @property
    def initial_version(self) -> bool:
        return self.version.lower() in INITIAL_VERSIONS

    @property
    def type_at(self) -> str:
        """file:line of `spec.type`."""
        return f"{self.file}:{self.type_line}" if self.file else self.where

    def at(self, name: str) -> str:
        """file:line of a metadata entry by name in any case, else of the resource."""
        line = next((entry.line for entry in self.metadata if entry.name.lower() == name.lower()), 0)
        return f"{self.file}:{line}" if line else self.where


@record
class Declared:
    """A declarative subscription and where it stands."""

    subscription: Subscription
    namespace: str = ""
    where: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        return self.subscription.name

    @property
    def scopes(self) -> tuple[str, ...]:
        return self.subscription.scopes


@record
class HttpEndpoint:
    """An HTTPEndpoint. tls: PEM texts by `rootCA`, `certificate`, `privateKey`; renegotiation as written."""

    name: str
    base_url: str
    namespace: str = ""
    headers: tuple[Entry, ...] = ()
    tls: tuple[Entry, ...] = ()
    renegotiation: str = ""
    scopes: tuple[str, ...] = ()
    secret_store: str = ""
    where: str = field(default="", compare=False)


@record
class Other:
    """A resource whose spec nobody here reads (MCPServer), or who needs it (WorkflowAccessPolicy); spec: as written."""

    kind: str
    name: str
    namespace: str = ""
    scopes: tuple[str, ...] = ()
    spec: Any = None
    where: str = field(default="", compare=False)


@record
class Resiliency:
    """A Resiliency resource. rules: what it adds."""

    name: str
    namespace: str
    scopes: tuple[str, ...]
    rules: Rules
    where: str = field(default="", compare=False)
