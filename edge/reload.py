"""Hot reload: what changed in the resources directories is applied while everything else runs on.

A changed component is built and checked before the old one goes; one that can't be used leaves the old one in its place, with an error
in the log. Messages are kept in the journal while their component is exchanged. Configuration, HTTPEndpoint, Resiliency, middleware and
name resolution are read anew by a restart within the process (`Reloader.restart`), as on SIGHUP.
Source: dapr pkg/runtime/hotreload @1.18.3; differs: daprd ends when a changed component fails and removes one whose YAML broke.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from edge.app import Part
from edge.config.plan import Plan, PlanError
from edge.config.resources import Component, Declared
from edge.config.watch import FolderWatch
from edge.host import HostedApp
from edge.loader import Loader, LoadError
from edge.services import Services
from edge.tasks import Tasks

log = logging.getLogger("dapr.runtime.hotreload.reconciler")
BY_RESTART = ("middleware", "nameresolution")
EXCHANGED = ("pubsub", "bindings")
"""Kinds of which two instances at once would be in each other's way (client ids, consumer groups): the old one goes first."""
LAST_CALLS = 1.0
KINDS = "'Component', 'Subscription', 'MCPServer', 'Configuration', 'HTTPEndpoint', 'Resiliency' and 'WorkflowAccessPolicy'"


class Reloader:
    """Keeps a running daemon as its YAML says. read: the plan as it is on disk now. restart: asks for a restart within the process."""

    def __init__(
        self,
        plan: Plan,
        loader: Loader,
        services: Services,
        hosted: Sequence[HostedApp],
        tasks: Tasks,
        read: Callable[[], Plan],
        restart: Callable[[], None],
    ) -> None:
        self.plan = plan
        self._loader, self._services, self._hosted, self._tasks = loader, services, hosted, tasks
        self._read, self._restart = read, restart
        self._lock = asyncio.Lock()
        self._again = False

    def watch(self, folder_watch: Callable[[Callable[[], None]], FolderWatch]) -> FolderWatch:
        """Reload whenever a folder says so."""
        logging.getLogger("dapr.runtime.hotreload").info(
            "Hot reloading enabled. Daprd will reload %s resources when they are added, updated or deleted.", KINDS
        )
        one = folder_watch(self._changed)
        one.start()
        return one

    def _changed(self) -> None:
        self._tasks.start("reload", self.reload())

    async def renew(self) -> None:
        """SIGHUP: read everything anew by a restart within the process, unless what is on disk now could not run."""
        try:
            await asyncio.to_thread(self._read)
        except PlanError as error:
            for problem in error.problems:
                log.error("the resources can't be reloaded, everything stays as it is: %s", problem)
            return
        self._restart()

    async def reload(self) -> None:
        """Apply what is different on disk; nothing raises. Calls while one is under way become one more."""
        if self._lock.locked():
            self._again = True
            return
        async with self._lock:
            while True:
                self._again = False
                await self._apply()
                if not self._again:
                    return

    async def _apply(self) -> None:
        old = self.plan
        try:
            new = await asyncio.to_thread(self._read)
        except PlanError as error:
            for problem in error.problems:
                log.error("the resources can't be reloaded, everything stays as it is: %s", problem)
            return
        new.report()
        new = _with_survivors(old, new)
        if _fixed(old) != _fixed(new):
            log.info("A resource changed that is read at start; restarting within the process")
            self._restart()
            return
        kept = await self._components(old.components, new.components)
        self.plan = replace(new, components=kept)
        await self._subscriptions(old.subscriptions, new.subscriptions)

    # --- components
    async def _components(self, old: Sequence[Component], new: Sequence[Component]) -> tuple[Component, ...]:
        """What is in force afterwards: a component that could not be exchanged stays the old one."""
        before, after = {one.name: one for one in old}, {one.name: one for one in new}
        in_force = dict(after)
        for name in [name for name in before if name not in after]:
            log.info("Component deleted: %s", before[name].log_name)
            await self._close(name)
        for name, resource in after.items():
            if before.get(name) == resource and (self._loader.part(name) is not None or name in self._loader.parked):
                continue
            log.info("Component updated: %s", resource.log_name)
            if not await self._exchange(resource) and name in before:
                in_force[name] = before[name]
        for resource in list(self._loader.parked.values()):
            if resource.secret_store in in_force:
                await self._exchange(resource)
        return tuple(in_force.values())

    async def _exchange(self, resource: Component) -> bool:
        """Open the new one in the place of the old one; False: it failed and things are as before."""
        old = self._loader.part(resource.name)
        if resource.kind in EXCHANGED or (old is not None and old.kind in EXCHANGED):
            return await self._close_first(resource, old)
        try:
            part = await self._loader.make(resource)
        except LoadError as error:
            log.error("Component %s stays as it was: %s", resource.log_name, error)
            return False
        await self._put(resource, part, old)
        if old is not None:
            self._tasks.start(f"close[{old.name}]", self._close_late(old))
        return True

    async def _close_first(self, resource: Component, old: Part | None) -> bool:
        try:
            self._loader.check(resource)
        except LoadError as error:
            log.error("Component %s stays as it was: %s", resource.log_name, error)
            return False
        before = self._loader.resources.get(resource.name)
        if old is not None:
            await self._close(resource.name)
        for one in (resource, *([before] if before is not None else [])):
            try:
                await self._put(one, await self._loader.make(one), None)
            except LoadError as error:
                log.error("Component %s could not be opened: %s", one.log_name, error)
                continue
            return one is resource
        return False

    async def _put(self, resource: Component, part: Part | None, old: Part | None) -> None:
        if part is None:
            return
        if old is not None:
            if old.kind != part.kind:
                self._loader.parts.remove(old.kind, old.name)
            await self._services.release(old)
        self._loader.show(resource, part)
        await self._services.adopt(part, [one.app for one in self._hosted])

    async def _close(self, name: str) -> None:
        part = self._loader.part(name)
        if part is not None:
            self._loader.parts.remove(part.kind, name)
            await self._services.release(part)
        await self._loader.close(name)

    async def _close_late(self, old: Part) -> None:
        """Calls under way end first."""
        await asyncio.sleep(LAST_CALLS)
        await old.component.close()

    # --- subscriptions
    async def _subscriptions(self, old: Iterable[Declared], new: Iterable[Declared]) -> None:
        for one in self._hosted:
            before, after = (_of(declared, one.app.id) for declared in (old, new))
            if before != after:
                log.info("Subscriptions of app %s updated", one.app.id)
                await self._services.subscriptions.redeclare(one.app, [declared.subscription for declared in after])


def _of(declared: Iterable[Declared], app_id: str) -> list[Declared]:
    return [one for one in declared if not one.scopes or app_id in one.scopes]


def _fixed(plan: Plan) -> object:
    """What only a restart applies."""
    components = [one for one in plan.components if one.kind in BY_RESTART]
    return plan.configuration, plan.resiliencies, plan.http_endpoints, plan.others, components


def _with_survivors(old: Plan, new: Plan) -> Plan:
    """With the resources of before of which the document can't be read now: a slip in an editor removes nothing."""
    broken = {problem.where.rpartition(":")[0] or problem.where for problem in new.problems if problem.lost}
    if not broken:
        return new
    names = {one.name for one in new.components}
    components = [one for one in old.components if one.file in broken and one.name not in names]
    declared = {one.name for one in new.subscriptions}
    subscriptions = [one for one in old.subscriptions if one.where.rpartition(":")[0] in broken and one.name not in declared]
    return replace(new, components=(*new.components, *components), subscriptions=(*new.subscriptions, *subscriptions))
