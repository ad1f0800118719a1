"""Which app hosts which types: registration when an app is there, withdrawal when it is not, and what hangs on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from edge.actor import ActorHost
from edge.app import App
from edge.blocks.actors.config import TypeConfig
from edge.blocks.actors.placement import Placement
from edge.blocks.actors.reminders import Reminders
from edge.blocks.actors.table import ActorType
from edge.blocks.metadata import ActorStatus
from edge.scheduler import Detach
from edge.tasks import Tasks

log = logging.getLogger("dapr.runtime.actor")


class Hosting:
    """The hosted types of all apps of this daemon. A type's reminders fire while at least one app hosts it."""

    def __init__(self, tasks: Tasks, placement: Placement, reminders: Reminders) -> None:
        self._tasks, self._placement, self._reminders = tasks, placement, reminders
        self._types: dict[str, dict[str, ActorType]] = {}
        self._known: dict[str, asyncio.Event] = {}
        self._firing: dict[tuple[str, str], tuple[set[str], Detach]] = {}

    async def register(self, app: App, host: ActorHost | None, wanted: Mapping[str, TypeConfig]) -> None:
        """The app hosts these types through `host`; None: nothing, but for what a stream of its hosts."""
        await self._placement.member(app)
        if host is None:
            self._event(app).set()
            return
        hosted = self._types.setdefault(app.id, {})
        for kind in hosted.values():
            kind.host = host
        for name in [name for name in hosted if name not in wanted]:
            await self._withdraw(app, name, None)
        if wanted:
            log.info("Registering hosted actors: [%s]", " ".join(wanted))
        for name, settings in wanted.items():
            if name in hosted:
                hosted[name].config = settings
                continue
            kind = hosted[name] = ActorType(app, name, settings, host, self._tasks)
            await self._placement.add(kind)
            self._start_reminders(app, name)
        self._event(app).set()

    async def unregister(self, app: App, patience: float | None) -> None:
        """The app is away: withdraw all its types."""
        await asyncio.gather(*[self._withdraw(app, name, patience) for name in list(self._types.get(app.id, ()))])

    async def close(self, patience: float | None) -> None:
        """Withdraw all types of all apps, at the same time."""
        kinds = [kind for hosted in self._types.values() for kind in hosted.values()]
        await asyncio.gather(*[self._withdraw(kind.app, kind.name, patience) for kind in kinds])

    async def ready(self, app: App) -> None:
        """Return when the app's types are known; an app without a port has none until it opens a stream."""
        if app.port:
            event = self._known.get(app.id)
            if event is None or not event.is_set():
                await self._event(app).wait()

    def hosts(self, app: App, type_: str) -> bool:
        """The app itself hosts that type."""
        return type_ in self._types.get(app.id, ())

    def is_active(self, app: App, type_: str, id_: str) -> bool:
        """The instance is active in that app."""
        kind = self._types.get(app.id, {}).get(type_)
        return kind is not None and kind.has(id_)

    def status(self, app: App) -> ActorStatus:
        """For the metadata API; an app that hosts nothing sees what daprd says without a placement service."""
        if app.port and not self._event(app).is_set():
            return ActorStatus("INITIALIZING", placement="")
        hosted = self._types.get(app.id)
        if not hosted:
            return ActorStatus()
        return ActorStatus("RUNNING", [(name, len(kind)) for name, kind in hosted.items()], True, "placement: connected")

    def types(self, app: App) -> list[ActorType]:
        """What the app hosts."""
        return list(self._types.get(app.id, {}).values())

    def _event(self, app: App) -> asyncio.Event:
        return self._known.setdefault(app.id, asyncio.Event())

    async def _withdraw(self, app: App, name: str, patience: float | None) -> None:
        kind = self._types.get(app.id, {}).pop(name, None)
        if kind is not None:
            await asyncio.gather(self._stop_reminders(kind, patience), self._placement.remove(kind, patience))

    def _start_reminders(self, app: App, name: str) -> None:
        key = (app.namespace, name)
        if key in self._firing:
            self._firing[key][0].add(app.id)
        else:
            self._firing[key] = ({app.id}, self._reminders.attach(*key))

    async def _stop_reminders(self, kind: ActorType, patience: float | None) -> None:
        key = (kind.app.namespace, kind.name)
        hosts, detach = self._firing[key]
        hosts.discard(kind.app.id)
        if not hosts:
            del self._firing[key]
            await detach(kind.config.drain_timeout if patience is None else patience)
