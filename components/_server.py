"""A component's server that may be away: at start, when the component opens all the same, and later (an edge device boots offline)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from edge.component import NOT_YET, Context
from edge.errors import Unavailable

log = logging.getLogger("dapr.contrib")
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
SILENT = ("timeout", "no answer")


class Server:
    """Says whether the server is there, and tries again with growing pauses while it is not.

    prepare: connects and makes what the component needs (tables, indexes); may run again after a failure. Raises Unavailable.
    """

    def __init__(self, context: Context, prepare: Callable[[], Awaitable[None]]) -> None:
        self._context, self._prepare = context, prepare
        self._why = ""
        self._prepared = False
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Prepare now if the server is there. Raises what `prepare` raises apart from Unavailable."""
        try:
            await self._try(self._context.init_timeout / 2)
        except Unavailable as error:
            self.failed(error)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def unhealthy(self) -> str | None:
        """Why the server can't be used now."""
        return self._why or None

    def require(self) -> None:
        """Raises Unavailable until the server has been prepared once, and while it is silent."""
        if not self._prepared:
            raise Unavailable(self._why or NOT_YET)
        self.spare()

    def spare(self) -> None:
        """Raises Unavailable while the server is known to be silent: no caller need wait for that again. A refusal costs nothing to try."""
        if self._why and any(word in self._why for word in SILENT):
            raise Unavailable(self._why)

    def failed(self, error: Unavailable) -> None:
        """A call found the server away: from now on it is looked for."""
        if not self._why:
            log.warning("Component %s: its server cannot be used, trying again: %s", self._context.name, error)
        self._why = str(error)
        if self._task is None or self._task.done():
            self._task = self._context.tasks.spawn(f"server[{self._context.name}]", self._look)

    async def _look(self) -> None:
        pause = FIRST_PAUSE
        while self._why:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            try:
                await self._try(max(self._context.init_timeout, 1.0))
            except Unavailable as error:
                self._why = str(error)
        log.info("Component %s: its server is there", self._context.name)

    async def _try(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._prepare()
        except TimeoutError:
            raise Unavailable(f"no answer within {timeout:g} s") from None
        self._prepared, self._why = True, ""
