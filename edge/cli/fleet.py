"""All groups of a process up together, their apps' commands kept alive, and changed files taken over while it runs (layer 6)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.cli.announce import announce, extended, instance
from edge.cli.group import Group
from edge.cli.keeper import Keeper
from edge.cli.output import Logs
from edge.cli.runfile import AppEntry
from edge.config.plan import PlanError
from edge.datadir import DataDir, hold
from edge.instances import Instance, remove
from edge.renewal import Renewable, renewable
from edge.runtime import StartFailed, plan_of
from edge.settings import AppSettings
from edge.systemd import inherited
from edge.tasks import Tasks

log = logging.getLogger("dapr.runtime")


@dataclass(slots=True, eq=False)
class Running:
    """A group that is up. life: what ends it. place: what holds its folder."""

    group: Group
    daemon: Renewable
    data: DataDir
    life: AsyncExitStack
    place: AsyncExitStack


class Fleet:
    """`async with` holds all groups up. service: as a system service, that is restarts of apps, and a data folder for itself alone."""

    def __init__(self, groups: Sequence[Group], base: Path, stop: asyncio.Event, *, service: bool) -> None:
        self._groups, self._base, self._stop, self._service = list(groups), base, stop, service
        self._running: dict[str, Running] = {}
        self._up = AsyncExitStack()
        self._logs = Logs(foreground=not service)
        self._keepers: dict[str, Keeper] = {}
        self._tasks: Tasks

    async def __aenter__(self) -> Self:
        try:
            self._up.callback(self._logs.close)
            self._up.push_async_callback(self._close_all)
            for group in self._groups:
                self._logs.open(group.entries)
                await self._open(group)
            self._tasks = await self._up.enter_async_context(Tasks("apps"))
            self._up.push_async_callback(self._stop_commands)
            for group in self._groups:
                self._keep(group)
        except BaseException:
            await self._up.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._up.aclose()

    def daemons(self) -> list[Renewable]:
        return [one.daemon for one in self._running.values()]

    async def _open(self, group: Group, place: AsyncExitStack | None = None, data: DataDir | None = None) -> None:
        """Bring a group up, in its folder if that is held already. Raises StartFailed, DataDirError."""
        place, life = place or AsyncExitStack(), AsyncExitStack()
        try:
            data = data or place.enter_context(hold(self._base, group.name, alone=self._service))
            group.settings.data_dir = data.path
            for app in group.settings.apps:
                app.inherited = inherited(app.app_id)
            daemon = await life.enter_async_context(renewable(replace(group.settings), data, self._stop))
        except BaseException:
            await place.aclose()
            raise
        self._running[group.name] = Running(group, daemon, data, life, place)
        self._announce(group)

    async def _close(self, name: str, *, keep_place: bool = False) -> Running:
        one = self._running.pop(name)
        remove(one.data.path)
        await one.life.aclose()
        if not keep_place:
            await one.place.aclose()
        return one

    async def _close_all(self) -> None:
        for name in reversed(tuple(self._running)):
            await self._close(name)

    def _rows(self, group: Group) -> list[Instance]:
        about, rows = (str(group.run_file.path), group.run_file.name), []
        for entry in group.entries:
            keeper = self._keepers.get(entry.settings.app_id)
            logs = (keeper.log_path if keeper else "", self._logs.path(entry))
            rows.append(instance(entry.settings, group.settings, entry.command, keeper.pid if keeper else 0, about, logs))
        return rows

    def _announce(self, group: Group) -> None:
        one = self._running.get(group.name)
        if one is None:
            return
        rows = self._rows(group)
        announce(one.data.path, rows)
        for row in rows:
            if row.app_pid:
                one.daemon.set_extended(row.app_id, extended(row))

    def _keep(self, group: Group) -> None:
        for entry in group.entries:
            if entry.command:
                keeper = Keeper(entry, group.settings.metrics_port, self._service, partial(self._announce, group))
                self._keepers[entry.settings.app_id] = keeper
                self._tasks.spawn(f"app[{entry.settings.app_id}]", keeper.run)

    async def _stop_commands(self) -> None:
        await asyncio.gather(*(keeper.stop() for keeper in tuple(self._keepers.values())))

    # --- taking over what changed
    async def reload(self, wanted: Sequence[Group]) -> None:
        """Files were read again: apps that came, went or changed start anew; a fault in any file changes nothing."""
        try:
            for group in wanted:
                there = self._running.get(group.name)
                plan_of(group.settings, there.data if there else DataDir(self._base / group.name))
        except (PlanError, OSError) as error:
            log.error("reload: %s; what runs stays as it is", error)
            return
        names = {group.name for group in wanted}
        for name in [name for name in self._running if name not in names]:
            await self._drop(name)
        for group in wanted:
            there = self._running.get(group.name)
            if there is not None and _shape(group) == _shape(there.group):
                there.daemon.reload()
            else:
                await self._replace(group)
                log.info("reload: %s started anew with %d apps", group.name, len(group.entries))

    async def _drop(self, name: str) -> None:
        await self._end_commands(self._running[name].group)
        await self._close(name)

    async def _end_commands(self, group: Group) -> None:
        keepers = [keeper for entry in group.entries if (keeper := self._keepers.pop(entry.settings.app_id, None)) is not None]
        await asyncio.gather(*(keeper.stop() for keeper in keepers))

    async def _replace(self, group: Group) -> None:
        """The new state of a group; if it does not start, the state before."""
        before = None
        if group.name in self._running:
            await self._end_commands(self._running[group.name].group)
            before = await self._close(group.name, keep_place=True)
        try:
            await self._open(group, *((before.place.pop_all(), before.data) if before else ()))
        except StartFailed as error:
            log.error("reload: %s: %s; the state before is restored", group.name, error)
            if before is None:
                return
            group = before.group
            await self._open(group)
        self._keep(group)


def _shape(group: Group) -> object:
    """What of a group is not in its plan."""
    return [(_fixed(entry), entry.command, dict(entry.env), entry.directory) for entry in group.entries]


def _fixed(entry: AppEntry) -> AppSettings:
    """An app's settings without what is chosen at each start."""
    settings = replace(entry.settings, inherited={})
    for key in ("http_port", "grpc_port"):
        if key not in entry.given:
            setattr(settings, key, 0)
    return settings
