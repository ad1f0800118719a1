"""Is the app there, and is it well: the wait for its port and the health probes (app-channel.md §1, §11.1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from edge.app import App, AppChannel, AppHealthCheck

log = logging.getLogger("dapr.runtime")
health_log = logging.getLogger("dapr.apphealth")
FIRST_DIALS, SLOW_DIALS = 600, 0.5
DIAL_EVERY = 0.1

Changed = Callable[[bool], Awaitable[None]]


async def wait_reachable(app: App, channel: AppChannel) -> None:
    """Return once the app's port accepts connections, however long that takes: a dial every 100 ms for a minute, then two a second."""
    log.info(
        "application protocol: %s. waiting on port %d.  This will block until the app is listening on that port.", app.protocol, app.port
    )
    dials = 0
    while not await channel.reachable():
        dials += 1
        await asyncio.sleep(DIAL_EVERY if dials < FIRST_DIALS else SLOW_DIALS)
    log.info("application discovered on port %d", app.port)


class AppHealth:
    """Probes one app for ever and tells when it becomes healthy or unhealthy; it counts as unhealthy until the first success.

    changed: awaited at each change, before the next probe; `app.healthy` is set already.
    """

    def __init__(self, app: App, channel: AppChannel, check: AppHealthCheck, changed: Changed) -> None:
        self._app, self._channel, self._check, self._changed = app, channel, check, changed
        self._failures = 0

    async def run(self) -> None:
        """Probe until cancelled; the interval is counted from probe to probe."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self._seen(await self._channel.healthy(self._check.path, self._check.timeout))
            due = max(due + self._check.interval, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _seen(self, well: bool) -> None:
        self._failures = 0 if well else self._failures + 1
        if well and not self._app.healthy:
            health_log.info("App entered healthy status")
            await self._set(True)
        elif self._app.healthy and self._failures >= self._check.threshold:
            health_log.warning("App entered un-healthy status: %s", self._channel.probe_failure)
            await self._set(False)

    async def _set(self, healthy: bool) -> None:
        self._app.healthy = healthy
        await self._changed(healthy)
