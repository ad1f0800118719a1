"""The composition root: settings and YAML become a running daemon. The stack's order is the order of life: last started, first stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from edge import registry
from edge.app import App, Parts
from edge.blocks.acceptance import accept
from edge.component import Context, Keeps
from edge.config.plan import Plan, PlanError, read_plan
from edge.config.resources import Component as Resource
from edge.config.watch import FolderWatch
from edge.database import Database, Options
from edge.datadir import DataDir
from edge.errors import ComponentError
from edge.host import HostedApp, open_channel
from edge.internal_port import serve_internal
from edge.journal import Journal, salvager
from edge.journal.wake import told
from edge.listeners import middleware, serve_grpc, serve_http, serve_public
from edge.loader import LoadError, open_components
from edge.metering import equip, serve_metrics
from edge.reload import Reloader
from edge.services import Services, features
from edge.settings import AppSettings, DaemonSettings
from edge.tasks import Tasks, starting
from edge.tracing import traced

log = logging.getLogger("dapr.runtime")
RESCUED_BEFORE = 60.0
DATABASE = Options(page_size=2048, shrink=True, private=True, rescue=True, salvager=salvager)


class StartFailed(Exception):
    """The daemon can't run; the text says what failed and what to do."""


class Daemon:
    """A running daemon, for those who started it."""

    def __init__(self, plan: Plan, hosted: list[HostedApp], services: Services, database: Database, reloader: Reloader) -> None:
        self.plan, self.hosted, self.services, self.reloader = plan, hosted, services, reloader
        self._database = database

    def set_extended(self, app_id: str, values: dict[str, str]) -> None:
        """What a launcher adds to the metadata of an app."""
        for one in self.hosted:
            if one.app.id == app_id:
                one.app.extended.update(values)

    @property
    def apps(self) -> list[App]:
        return [one.app for one in self.hosted]

    async def probe(self) -> None:
        """Returns when the daemon's file took a transaction (an empty one, nothing is written). Raises ComponentError."""
        await self._database.write(lambda tx: tx.execute("SELECT 1").fetchone())


@asynccontextmanager
async def serve(
    settings: DaemonSettings, data: DataDir, stop: asyncio.Event, plan: Plan | None = None, restart: asyncio.Event | None = None
) -> AsyncIterator[Daemon]:
    """Run until the block ends; the APIs answer when this yields. plan: what to run if not the settings' files.

    restart: set when something changed on disk that is read at start only: leave the block and enter a new one.
    Raises StartFailed with everything closed again.
    """
    began = time.monotonic()
    try:
        listening = starting()
        async with AsyncExitStack() as up:
            daemon = await _start(settings, data, stop, restart or asyncio.Event(), up, plan)
            for one in daemon.hosted:
                one.attach()
            listening()
            log.info("dapr initialized. Status: Running. Init Elapsed %dms", (time.monotonic() - began) * 1000)
            yield daemon
            log.info("Dapr is shutting down")
            await _block_shutdown(settings, daemon)
    except (PlanError, LoadError, ComponentError, OSError) as error:
        raise StartFailed(str(error)) from error
    log.info("Dapr runtime stopped")


def plan_of(settings: DaemonSettings, data: DataDir) -> Plan:
    """What the settings' files say is to run. Raises PlanError."""
    ids = [app.app_id for app in settings.apps]
    return read_plan(settings.resources_paths, settings.config_paths, ids, os.environ, data.path)


async def _start(
    settings: DaemonSettings, data: DataDir, stop: asyncio.Event, restart: asyncio.Event, up: AsyncExitStack, plan: Plan | None
) -> Daemon:
    ids = [app.app_id for app in settings.apps]
    plan = plan or plan_of(settings, data)
    plan.report()
    for app_id in ids:
        log.info("standalone mode configured")
        log.info("app id: %s", app_id)
    database = await up.enter_async_context(Database.open(data.path / "edged.db", DATABASE))
    database.on_damage = lambda why: _rescue_soon(database, restart, why)
    journal = await up.enter_async_context(Journal.open(database))
    up.enter_context(told(journal))
    background = await up.enter_async_context(Tasks("components"))
    lend = _lender(settings, data, background, database, ids)
    await _discover()
    loader = await up.enter_async_context(open_components(plan, lend, os.environ, accept))
    parts = loader.parts
    if data.orphans:
        from edge.adoption import adopt  # an instance beside this one ended

        await adopt(data.orphans, database, journal)
        await asyncio.gather(*(part.component.recount() for part in parts.all("pubsub") if isinstance(part.component, Keeps)))
    tasks = await up.enter_async_context(Tasks("edged"))
    services = await up.enter_async_context(Services.open(plan, parts, database, journal, tasks, settings, data))
    services.blocks.shutdown = _shutdown(stop)
    hosted = [await _host(app, plan, parts, services, tasks) for app in settings.apps]
    services.send_backlog(parts)
    await up.enter_async_context(traced([one.app for one in hosted], plan.configuration.tracing, os.environ))
    for one in hosted:
        equip(one.app, settings, plan, parts.visible(one.app), journal, services.attendance.measure)
        await up.enter_async_context(serve_grpc(one.settings, one.app, services.blocks, plan))
        await up.enter_async_context(serve_http(one.settings, one.app, services.blocks, plan, parts))
        await up.enter_async_context(serve_public(one.settings, one.app, services.blocks, plan))
        await up.enter_async_context(serve_internal(one.settings, one.app, services.blocks, services.mesh, tasks))
        one.app.outbound_ready = True
    await up.enter_async_context(serve_metrics([one.app for one in hosted], settings))
    up.push_async_callback(_drain, hosted, services, settings.grace)
    reloader = Reloader(plan, loader, services, hosted, tasks, lambda: plan_of(settings, data), restart.set)
    if settings.resources_paths and "HotReload" in features(plan):
        watch = reloader.watch(lambda changed: FolderWatch(settings.resources_paths, changed, settings.hot_reload_interval))
        up.callback(watch.stop)
    return Daemon(plan, hosted, services, database, reloader)


def _rescue_soon(database: Database, restart: asyncio.Event, why: str) -> None:
    """A page of the file cannot be read: the next start sets it aside and saves its rows, so begin that start; not over and over."""
    after = RESCUED_BEFORE if database.doubted else 0.0
    log.critical("%s: %s; it is rescued by a restart within the process, in %d s", database.path, why, after)
    asyncio.get_running_loop().call_later(after, restart.set)


async def _discover() -> None:
    """Pluggable components, where their folder of sockets is."""
    if await asyncio.to_thread(registry.sockets().is_dir):
        from components._pluggable import discover  # gRPC, for those who have any

        await discover(registry.sockets())


def _lender(settings: DaemonSettings, data: DataDir, tasks: Tasks, database: Database, ids: list[str]) -> Callable[[Resource], Context]:
    """What the loader asks for each component."""
    namespace = (settings.apps[0].namespace if settings.apps else "") or "default"

    async def own() -> Database:
        return database

    def lend(resource: Resource) -> Context:
        visible = tuple(app_id for app_id in ids if not resource.scopes or app_id in resource.scopes)
        return Context(resource.name, visible, namespace, data.path, tasks, own, resource.init_timeout, settings.working_dir)

    return lend


def _shutdown(stop: asyncio.Event) -> Callable[[App, bool], None]:
    """What the shutdown API does: a graceful stop of the daemon, or with force its end in 100 ms with exit code 1."""
    api_log = logging.getLogger("dapr.api")

    def shutdown(app: App, force: bool) -> None:
        if force:
            api_log.warning("Force shutdown requested, exiting immediately without graceful shutdown")
            asyncio.get_running_loop().call_later(0.1, os._exit, 1)
            return
        api_log.info("Shutdown requested via API")
        stop.set()

    return shutdown


async def _host(settings: AppSettings, plan: Plan, parts: Parts, services: Services, tasks: Tasks) -> HostedApp:
    app = settings.app()
    app.channel = open_channel(app, middleware(plan.configuration.app_http_pipeline, parts, app))
    services.add(app)
    one = HostedApp(settings, app, services.subscriptions, services.inputs, tasks, services.learned, services.turned)
    declared = [d.subscription for d in plan.subscriptions if not d.scopes or app.id in d.scopes]
    await one.prepare(declared)
    await services.intents.start(app)
    return one


async def _block_shutdown(settings: DaemonSettings, daemon: Daemon) -> None:
    """`--dapr-block-shutdown-duration`: intake ends, the APIs go on until the time is over or the app is unhealthy."""
    if not settings.block_shutdown:
        return
    log.info("Blocking graceful shutdown for %gs or until app reports unhealthy...", settings.block_shutdown)
    await asyncio.gather(*(one.drain() for one in daemon.hosted))
    deadline = time.monotonic() + settings.block_shutdown
    while time.monotonic() < deadline and any(app.healthy for app in daemon.apps if app.channel is not None):  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def _drain(hosted: list[HostedApp], services: Services, grace: float) -> None:
    """Intake ends first, so that what is in flight can finish within the grace."""
    try:
        async with asyncio.timeout(grace):
            intents = (services.intents.stop(one.app) for one in hosted)
            await asyncio.gather(services.attendance.drain(), *intents, *(one.drain() for one in hosted))
    except TimeoutError:
        log.warning("deliveries did not end within %g s; what was not acknowledged comes again after the next start", grace)
    for one in hosted:
        if one.app.channel is not None:
            await one.app.channel.close()
