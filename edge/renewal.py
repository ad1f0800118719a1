"""A daemon that can start anew within the process: on SIGHUP, or when a resource changed that is read at start only.

What was accepted is in the journal, so that nothing is lost meanwhile; the API ports are closed for that moment. Source: daprd does so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edge.datadir import DataDir
from edge.runtime import Daemon, StartFailed, serve
from edge.settings import DaemonSettings
from edge.tokens import TokenError, tokens

log = logging.getLogger("dapr.runtime")


class Renewable:
    """The daemon that runs now, whichever it is. failed: why a new start failed; then `stop` is set."""

    def __init__(self, settings: DaemonSettings, data: DataDir, stop: asyncio.Event) -> None:
        self._settings, self._data, self._stop = settings, data, stop
        self._extended: dict[str, dict[str, str]] = {}
        self._daemon: Daemon | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._end = asyncio.Event()
        self._inherited = {app.app_id: dict(app.inherited) for app in settings.apps}  # each daemon gets copies and closes them
        self.failed: StartFailed | None = None

    def set_extended(self, app_id: str, values: dict[str, str]) -> None:
        """What a launcher adds to the metadata of an app."""
        self._extended.setdefault(app_id, {}).update(values)
        if self._daemon is not None:
            self._daemon.set_extended(app_id, values)

    async def probe(self) -> None:
        """As the daemon's; while one starts anew there is nothing to ask. Raises ComponentError."""
        if self._daemon is not None:
            await self._daemon.probe()

    def reload(self) -> None:
        """SIGHUP: everything is read anew, if it can be run."""
        if self._daemon is not None and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.create_task(self._renew(self._daemon), name="renew")

    async def _renew(self, daemon: Daemon) -> None:
        apps = self._settings.apps
        try:
            fresh = await asyncio.to_thread(lambda: [tokens(app.app_id, os.environ) for app in apps])
        except TokenError as error:
            log.error("reload: %s; what runs stays as it is", error)
            return
        for app, (api, own) in zip(apps, fresh, strict=True):
            app.api_token, app.app_token = api, own
        await daemon.reloader.renew()

    async def live(self, up: asyncio.Future[None]) -> None:
        """Run until `end`, one daemon after the other. up: set when the first one answers, or its StartFailed."""
        while not self._end.is_set():
            restart = asyncio.Event()
            for app in self._settings.apps:
                app.inherited = {kind: [one.dup() for one in sockets] for kind, sockets in self._inherited[app.app_id].items()}
            try:
                async with serve(self._settings, self._data, self._stop, restart=restart) as self._daemon:
                    for app_id, values in self._extended.items():
                        self._daemon.set_extended(app_id, values)
                    if not up.done():
                        up.set_result(None)
                    await _first(restart, self._end)
            except StartFailed as error:
                if not up.done():
                    up.set_exception(error)
                else:
                    self.failed = error
                    log.critical("Fatal error from runtime: %s", error)
                    self._stop.set()
                return
            finally:
                self._daemon = None

    def end(self) -> None:
        self._end.set()


@asynccontextmanager
async def renewable(settings: DaemonSettings, data: DataDir, stop: asyncio.Event) -> AsyncIterator[Renewable]:
    """`serve`, again and again. Raises StartFailed (of the first start at once, of a later one at the end of the block)."""
    one = Renewable(settings, data, stop)
    up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    life = asyncio.create_task(one.live(up), name="daemon")
    try:
        await _started(life, up)
        yield one
    finally:
        one.end()
        await asyncio.shield(asyncio.wait({life}))
    if one.failed is not None:
        raise one.failed


async def _started(life: asyncio.Task[None], up: asyncio.Future[None]) -> None:
    """Raises what the first start raised. Cancelled, it cancels that start."""
    try:
        await asyncio.wait({life, up}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        life.cancel()
        raise
    if not up.done():
        await life
    await up


async def _first(*events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
