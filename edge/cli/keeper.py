"""One app's command: run once in the foreground, or kept alive with a growing pause as a service (layer 6)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Callable

from edge.cli.child import Child, StartError, environment
from edge.cli.output import Prefixed
from edge.cli.runfile import AppEntry

log = logging.getLogger("dapr.runtime")
FIRST_DELAY, LONGEST_DELAY, HEALTHY_AFTER = 1.0, 60.0, 30.0
GRACE = 5.0


class Keeper:
    """changed: called when the command started or ended. again: start it anew when it ended."""

    def __init__(self, entry: AppEntry, metrics_port: int, again: bool, changed: Callable[[], None]) -> None:
        self._entry, self._metrics_port, self._again, self._changed = entry, metrics_port, again, changed
        self._output: Prefixed
        self._child: Child | None = None
        self._ended, self._over = asyncio.Event(), asyncio.Event()
        self.log_path = ""

    @property
    def pid(self) -> int:
        """0: it does not run."""
        return self._child.pid if self._child else 0

    async def run(self) -> None:
        """Until the command ended for good, or `stop`."""
        self._output = Prefixed(self._entry, foreground=not self._again)
        self.log_path = self._output.path
        try:
            await self._keep()
        finally:
            self._output.close()
            self._over.set()

    async def _keep(self) -> None:
        delay, app_id = FIRST_DELAY, self._entry.settings.app_id
        while not self._ended.is_set():
            began = time.monotonic()
            why = await self._once()
            if self._ended.is_set():
                return
            log.warning("The app %s %s", app_id, why)
            if not self._again:
                return
            if time.monotonic() - began > HEALTHY_AFTER:
                delay = FIRST_DELAY
            pause = delay * random.uniform(0.75, 1.25)
            log.info("The app %s starts again in %.1f s", app_id, pause)
            try:
                await asyncio.wait_for(self._ended.wait(), pause)
            except TimeoutError:
                delay = min(delay * 2, LONGEST_DELAY)

    async def _once(self) -> str:
        entry = self._entry
        env = environment(os.environ, entry.settings, self._metrics_port) | dict(entry.env)
        try:
            self._child = child = await Child.start(entry.command, env, entry.directory, self._output.write_end())
        except StartError as error:
            return f"did not start: {error}"
        self._changed()
        try:
            await self._output.follow(child.wait())
        finally:
            await child.stop(GRACE)
            self._child = None
        self._changed()
        return f"ended with exit code {child.process.returncode}"

    async def stop(self) -> None:
        """End the command: its group gets SIGTERM, and SIGKILL after the grace. It does not start again."""
        self._ended.set()
        if self._child is not None:
            await self._child.stop(GRACE)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), GRACE)
