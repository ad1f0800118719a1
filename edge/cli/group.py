"""Apps of run files grouped into what one set of components serves, run together, their commands kept alive (layer 6)."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge import instances
from edge.cli.child import Child, StartError, environment
from edge.cli.output import Prefixed
from edge.cli.runfile import AppEntry, RunFile, RunFileError
from edge.datadir import hold
from edge.settings import DaemonSettings, free_port
from edge.tasks import Tasks

log = logging.getLogger("dapr.runtime")
FIRST_DELAY, LONGEST_DELAY, HEALTHY_AFTER = 1.0, 60.0, 30.0


@dataclass(slots=True)
class Group:
    """Apps that share components: one data folder, one set of resources."""

    name: str
    entries: list[AppEntry]
    settings: DaemonSettings
    run_file: RunFile
    held: Any = field(default=None, repr=False)


def grouped(files: Sequence[RunFile], values: dict[str, Any]) -> list[Group]:
    """One group per set of resources and configuration. Ports that were not given are chosen. Raises RunFileError."""
    found: dict[tuple[object, ...], Group] = {}
    seen: set[str] = set()
    for file in files:
        for entry in file.apps:
            if entry.settings.app_id in seen:
                raise RunFileError(f"{file.path}: app id {entry.settings.app_id} stands in another file too; give it another appID")
            seen.add(entry.settings.app_id)
            _fill(entry, values)
            key = (entry.resources, entry.config)
            if key not in found:
                found[key] = Group(file.name, [], _settings(entry, values, first=not found), file)
            found[key].entries.append(entry)
    groups = list(found.values())
    for number, group in enumerate(groups):
        group.name = group.entries[0].settings.app_id if len(group.entries) == 1 else f"{group.name}-{number}" if number else group.name
        group.settings.apps = [entry.settings for entry in group.entries]
    return groups


def _fill(entry: AppEntry, values: dict[str, Any]) -> None:
    for key in ("http_port", "grpc_port"):
        if getattr(entry.settings, key) < 0:
            setattr(entry.settings, key, free_port())
    entry.settings.app_port = max(0, entry.settings.app_port)
    entry.settings.api_token = os.environ.get("DAPR_API_TOKEN", "")
    entry.settings.app_token = os.environ.get("APP_API_TOKEN", "")
    entry.settings.namespace = os.environ.get("NAMESPACE", "")


def _settings(entry: AppEntry, values: dict[str, Any], first: bool) -> DaemonSettings:
    return DaemonSettings(
        data_dir=Path(),
        apps=[],
        resources_paths=entry.resources,
        config_paths=(entry.config,) if entry.config else (),
        default_resources=not entry.resources,
        grace=float(values["dapr_graceful_shutdown_seconds"]),
        metrics=values["enable_metrics"] and first,
        metrics_address=values["metrics_listen_address"],
        metrics_port=entry.metrics_port if entry.metrics_port > 0 else int(values["metrics_port"]),
        working_dir=entry.directory,
    )


class Fleet:
    """All groups of this process and the apps that it starts; `async with` holds them up."""

    def __init__(self, groups: list[Group], base: Path, stop: asyncio.Event, restart: bool, foreground: bool) -> None:
        self.groups, self.base, self.stop = groups, base, stop
        self.restart, self.foreground = restart, foreground
        self._up = AsyncExitStack()
        self._daemons: list[Any] = []
        self._children: dict[str, Child] = {}

    async def __aenter__(self) -> Self:
        from edge.renewal import renewable  # the composition root, once the command line is known to be right

        try:
            for group in self.groups:
                data = self._up.enter_context(hold(self.base, group.name))
                settings = replace(group.settings, data_dir=data.path)
                daemon = await self._up.enter_async_context(renewable(settings, data, self.stop))
                self._daemons.append(daemon)
                self._announce(group, data.path)
            tasks = await self._up.enter_async_context(Tasks("apps"))
            self._up.push_async_callback(self._stop_children)
            for group in self.groups:
                for entry in group.entries:
                    if entry.command:
                        tasks.spawn(f"app[{entry.settings.app_id}]", partial(self._keep, group, entry))
        except BaseException:
            await self._up.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._up.aclose()

    def _announce(self, group: Group, path: Path) -> None:
        instances.write(path, [self._instance(group, entry) for entry in group.entries])
        self._up.callback(instances.remove, path)

    def _instance(self, group: Group, entry: AppEntry) -> instances.Instance:
        app, child = entry.settings, self._children.get(entry.settings.app_id)
        socket = f"{app.unix_socket_dir}/dapr-{app.app_id}-http.socket" if app.unix_socket_dir else ""
        return instances.Instance(
            app_id=app.app_id,
            pid=os.getpid(),
            http_port=app.http_port,
            grpc_port=app.grpc_port,
            app_port=app.app_port,
            metrics_port=group.settings.metrics_port if group.settings.metrics else 0,
            http_socket=socket,
            started_ms=int(time.time() * 1000),
            app_pid=child.pid if child else 0,
            command=" ".join(entry.command),
            run_file=str(group.run_file.path),
            run_name=group.run_file.name,
            metrics=group.settings.metrics,
            max_body_bytes=app.max_body_bytes,
            read_buffer_bytes=app.read_buffer_bytes,
        )

    async def _keep(self, group: Group, entry: AppEntry) -> None:
        """Run the app's command; when it ends: once in the foreground, again with back-off as a service."""
        delay, app_id = FIRST_DELAY, entry.settings.app_id
        while True:
            began = time.monotonic()
            code = await self._run_once(group, entry)
            log.warning("app %s ended with exit code %s", app_id, code)
            if not self.restart:
                return
            if time.monotonic() - began > HEALTHY_AFTER:
                delay = FIRST_DELAY
            pause = delay * random.uniform(0.75, 1.25)
            log.info("app %s starts again in %.1f s", app_id, pause)
            await asyncio.sleep(pause)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _run_once(self, group: Group, entry: AppEntry) -> int | str:
        env = environment(os.environ, entry.settings, group.settings.metrics_port) | dict(entry.env)
        output = Prefixed(entry, self.foreground)
        try:
            child = await Child.start(entry.command, env, entry.directory, output.write_end())
        except StartError as error:
            output.close()
            return str(error)
        self._children[entry.settings.app_id] = child
        for daemon in self._daemons:
            daemon.set_extended(
                entry.settings.app_id,
                {
                    "cliPID": str(os.getpid()),
                    "appPID": str(child.pid),
                    "appCommand": " ".join(entry.command),
                    "runTemplatePath": str(group.run_file.path),
                    "runTemplateName": group.run_file.name,
                },
            )
        try:
            await output.follow(child.wait())
            return child.process.returncode or 0
        finally:
            await child.stop(5.0)
            self._children.pop(entry.settings.app_id, None)
            output.close()

    async def _stop_children(self) -> None:
        await asyncio.gather(*(child.stop(5.0) for child in tuple(self._children.values())))

    def reload(self, wanted: list[Group]) -> None:
        """SIGHUP: components and subscriptions of the running groups are read again; a changed list of apps needs a restart."""
        before = sorted(entry.settings.app_id for group in self.groups for entry in group.entries)
        after = sorted(entry.settings.app_id for group in wanted for entry in group.entries)
        if before != after:
            log.warning("reload: the list of apps changed (%s -> %s): systemctl restart edged takes it over", before, after)
        for daemon in self._daemons:
            daemon.reload()
