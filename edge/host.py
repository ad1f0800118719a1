"""One hosted app: its channel, and what happens from "its port answers" to "it is served" and back (app-channel.md §1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge.app import ActorConfig, App, AppChannel, AppUnavailable
from edge.channel.health import AppHealth, wait_reachable
from edge.model import Subscription
from edge.settings import AppSettings
from edge.tasks import Tasks, after_start

if TYPE_CHECKING:
    from edge.blocks.bindings import InputBindings
    from edge.blocks.subscriptions import SubscriptionManager

log = logging.getLogger("dapr.runtime")

Learned = Callable[[App, ActorConfig], Awaitable[None]]
"""Told what the app's /dapr/config says, once per start."""
Turned = Callable[[App, bool], Awaitable[None]]
"""Told when the app becomes healthy or unhealthy."""


class HostedApp:
    """One app on its way up and down. learned, turned: what else wants to know (actors, jobs)."""

    def __init__(
        self,
        settings: AppSettings,
        app: App,
        subscriptions: SubscriptionManager,
        bindings: InputBindings,
        tasks: Tasks,
        learned: Sequence[Learned] = (),
        turned: Sequence[Turned] = (),
    ) -> None:
        self.settings, self.app = settings, app
        self._subscriptions, self._bindings, self._tasks = subscriptions, bindings, tasks
        self._learned, self._turned = list(learned), list(turned)
        self._started = False
        self._lock = asyncio.Lock()

    async def prepare(self, declared: Sequence[Subscription]) -> None:
        """Before the app is up: take and keep what is known to be wanted."""
        await self._subscriptions.prepare(self.app, declared)

    def attach(self) -> None:
        """Wait for the app in the background; without an app port there is nothing to wait for."""
        channel = self.app.channel
        if channel is None:
            self.app.healthy = self.app.ready = True
            self._tasks.start(f"app[{self.app.id}]", self._without_channel())
        else:
            self._tasks.spawn(f"app[{self.app.id}]", lambda: self._come_up(channel))

    async def _without_channel(self) -> None:
        await after_start()
        for turned in self._turned:
            await turned(self.app, True)

    async def _come_up(self, channel: AppChannel) -> None:
        await wait_reachable(self.app, channel)
        check = self.app.health_check
        if check is None:
            self.app.healthy = True
            await self._on_health(True)
            self._ready()
            return
        self._ready()
        log_health = logging.getLogger("dapr.apphealth")
        log_health.info("App health probes starting")
        await AppHealth(self.app, channel, check, self._on_health).run()

    def _ready(self) -> None:
        if not self.app.ready:
            self.app.ready = True
            log.info("dapr initialized. Status: Running.")

    async def _on_health(self, healthy: bool) -> None:
        async with self._lock:
            if not healthy:
                self._subscriptions.pause(self.app)
                await self._bindings.pause(self.app)
            elif self._started:
                self._subscriptions.resume(self.app)
                await self._bindings.start(self.app)
            else:
                await self._first_start()
                self._started = True
            for turned in self._turned:
                await turned(self.app, healthy)

    async def _first_start(self) -> None:
        channel = self.app.channel
        assert channel is not None
        disabled = self.settings.disable_init_endpoints
        config = ActorConfig()
        if "config" not in disabled:
            try:
                config = await channel.config()
                log.info("Application configuration loaded")
            except AppUnavailable as error:
                log.warning("the app's configuration could not be read: %s", error)
        for learned in self._learned:
            await learned(self.app, config)
        await self._subscriptions.start(self.app, ask="subscribe" not in disabled)
        await self._bindings.start(self.app)

    async def drain(self) -> None:
        """Take nothing more for the app; what was not acknowledged stays where it is durable."""
        await self._subscriptions.stop(self.app)
        await self._bindings.stop(self.app)


def open_channel(app: App, middleware: Sequence[Any] = ()) -> AppChannel | None:
    """The channel by the app's protocol; imported by what the app speaks. middleware: of the appHttpPipeline, for HTTP apps."""
    if app.port == 0:
        return None
    if app.protocol in ("grpc", "grpcs"):
        from edge.channel.grpc import GrpcChannel  # protobuf and HTTP/2 come with an app that speaks gRPC

        return GrpcChannel(app)
    from edge.channel.http import HttpChannel

    if app.protocol == "h2c":
        from edge.rpc.http2_client import Http2Client

        return HttpChannel(app, Http2Client(app.channel_address, app.port), middleware=middleware)
    return HttpChannel(app, middleware=middleware)
