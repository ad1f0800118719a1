"""Where other apps' sidecars are: the name resolver that the configuration names, mDNS unless it says otherwise.

A resolver is opened when the daemon's internal ports are known; one that fails is logged and tried again at the next call, as no app of
this daemon needs it (daprd logs it and goes on without). Source: dapr pkg/runtime/runtime.go initNameResolution @1.18.3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from edge import registry, spec
from edge.app import AppUnavailable
from edge.blocks.invoke import NO_HOST
from edge.component import Answering, Carrier, Context, Healthy, NameResolver
from edge.config.configuration import NameResolution
from edge.errors import ComponentError
from edge.model import Address
from edge.tasks import after_start

log = logging.getLogger("dapr.runtime")
DEFAULT = "mdns"
TRUE, FALSE = "true", "false"

Served = tuple[str, Answering]
"""An app's namespace, and how calls of it that are carried here are answered."""


class Names:
    """The resolver of one daemon. lend: the component's context by its name."""

    def __init__(self, settings: NameResolution, lend: Callable[[str], Context]) -> None:
        self._settings, self._lend = settings, lend
        self._type = type_of(settings)
        self._resolver: NameResolver | None = None
        self._own: dict[str, tuple[Address, Served | None]] = {}
        self._opening = asyncio.Lock()

    @property
    def prompt(self) -> bool:
        """An app has to be announced before it counts as up: who asks by multicast asks again, who reads a table does not."""
        return self._settings.component not in ("", DEFAULT)

    async def announce(self, app_id: str, address: Address, served: Served | None = None) -> None:
        """Let others find an app of this daemon; a failure is logged. served: how calls that are carried here are answered."""
        if not self.prompt:
            await after_start()
        if self._resolver is None:
            self._own[app_id] = address, served
            await self._open()
        elif app_id not in self._own:
            self._own[app_id] = address, served
            await self._register(self._resolver, app_id)

    async def resolve(self, app_id: str, namespace: str) -> Address:
        """Raises AppUnavailable."""
        resolver = await self._open()
        if resolver is None:
            raise AppUnavailable(NO_HOST)
        try:
            return await resolver.resolve(app_id, namespace)
        except (ComponentError, OSError) as error:
            raise AppUnavailable(str(error)) from None

    async def carrier(self) -> Carrier | None:
        """What calls go by, where the resolver carries them itself."""
        resolver = await self._open()
        return resolver if isinstance(resolver, Carrier) else None

    def unhealthy(self) -> dict[str, str]:
        """Why names cannot be looked up now, by the resolver's type."""
        why = self._resolver.unhealthy() if isinstance(self._resolver, Healthy) else None
        return {self._type: why} if why else {}

    def forget(self, app_id: str, address: Address) -> None:
        """Nobody answers at that address any more."""
        if (forget := getattr(self._resolver, "forget", None)) is not None:
            forget(app_id, address)

    async def close(self) -> None:
        """Take back what was announced."""
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None

    async def _open(self) -> NameResolver | None:
        async with self._opening:
            if self._resolver is None:
                try:
                    self._resolver = await self._make()
                except (ComponentError, OSError, ImportError, registry.UnknownComponent) as error:
                    log.error("error initializing name resolution %s: %s", self._type, error)
                    return None
                log.info("Initialized name resolution to %s", self._settings.component or DEFAULT)
                for app_id in self._own:
                    await self._register(self._resolver, app_id)
            return self._resolver

    async def _make(self) -> NameResolver:
        cls, metadata = described(self._settings)
        resolver: NameResolver = cls(metadata, self._lend(self._type))
        await resolver.open()
        return resolver

    async def _register(self, resolver: NameResolver, app_id: str) -> None:
        address, served = self._own[app_id]
        try:
            await resolver.register(app_id, address)
            if served is not None and isinstance(resolver, Carrier):
                await resolver.serve(app_id, *served)
        except (ComponentError, OSError) as error:
            log.error("name resolution: %s could not be announced at %s:%d: %s", app_id, address.host, address.port, error)


def type_of(settings: NameResolution) -> str:
    """The component's type as everywhere else."""
    return f"nameresolution.{settings.component or DEFAULT}"


def described(settings: NameResolution) -> tuple[Any, Any]:
    """The resolver's class and its metadata. Raises ComponentError, UnknownComponent, ImportError."""
    cls: Any = registry.load(type_of(settings), settings.version or "v1")
    metadata, problems = spec.parse(cls.Metadata, texts(settings.configuration))
    if fatal := [problem.message for problem in problems if problem.fatal]:
        raise ComponentError("; ".join(fatal))
    return cls, metadata


def texts(configuration: Any) -> Mapping[str, str]:
    """`spec.nameResolution.configuration` as a component's metadata: values as texts, structures as JSON."""
    if not isinstance(configuration, Mapping):
        return {}
    return {str(name): _text(value) for name, value in configuration.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, str | int | float):
        return str(value)
    import json  # a structure is rare

    return json.dumps(value)
