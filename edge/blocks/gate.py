"""Whether an app can be called now: one gate per app, before which all its deliveries wait and at which no attempt is spent."""

from __future__ import annotations

import asyncio
import logging

from edge.app import App, AppChannel
from edge.blocks.pressure import Pressure
from edge.tasks import Tasks

log = logging.getLogger("dapr.runtime")
FIRST_DIALS = 100
DIAL_EVERY, SLOW_DIAL_EVERY = 0.1, 0.5


class Gate:
    """Open while the app is healthy and reachable. `away()` closes it until the app's port accepts connections again.

    channel: None for an app without a port (it listens on streams), which is always there.
    """

    def __init__(self, app: App, channel: AppChannel | None, tasks: Tasks, pressure: Pressure | None = None) -> None:
        self._app, self._channel, self._tasks = app, channel, tasks
        self.pressure = pressure or Pressure()
        self._open = asyncio.Event()
        self._running = False
        self._dialing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    async def passed(self) -> None:
        """Return once the app can be called."""
        await self._open.wait()

    def start(self) -> None:
        """The app is there and healthy: deliver."""
        self._running = True
        if self._dialing is None:
            self._open.set()

    def stop(self) -> None:
        """The app is unhealthy, or goes: deliver nothing more."""
        self._running = False
        self._open.clear()

    def away(self) -> None:
        """A call found no one at the port: wait for the app, then go on at once."""
        if self._dialing is None and self._running and self._channel is not None:
            self._open.clear()
            log.warning("app %s does not answer on port %d: its messages wait", self._app.id, self._app.port)
            self._dialing = self._tasks.start(f"dial[{self._app.id}]", self._dial(self._channel))

    async def _dial(self, channel: AppChannel) -> None:
        try:
            dials = 0
            while not await channel.reachable():
                dials += 1
                await asyncio.sleep(DIAL_EVERY if dials < FIRST_DIALS else SLOW_DIAL_EVERY)
        finally:
            self._dialing = None
        if self._running:
            log.info("app %s answers again on port %d", self._app.id, self._app.port)
            self._open.set()


class Gates:
    """The gates of all apps."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self.pressure = Pressure()
        self._gates: dict[str, Gate] = {}

    def of(self, app: App) -> Gate:
        gate = self._gates.get(app.id)
        if gate is None:
            gate = self._gates[app.id] = Gate(app, app.channel, self._tasks, self.pressure)
        return gate

    def streams(self, app: App) -> Gate:
        """A gate for a stream: it is open as long as the stream is."""
        gate = Gate(app, None, self._tasks, self.pressure)
        gate.start()
        return gate
