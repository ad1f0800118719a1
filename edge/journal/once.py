"""Work that is done once per key, over restarts."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable

from edge.database import Database
from edge.journal import rows
from edge.journal.outgoing import FORGET_AT_ONCE

KNOWN = "SELECT 1 FROM journal_seen WHERE key=? AND until>=?"


class Once:
    """Keys under way are in memory, those that are done in the journal's table. age: seconds that the device was up."""

    def __init__(self, database: Database, age: Callable[[], float]) -> None:
        self._database, self._age = database, age
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self, key: str, remember: float, work: Callable[[], Awaitable[None]]) -> None:
        """See `Journal.once`."""
        running = self._running.get(key)
        if running is None:
            if self._database.row_now(KNOWN, key, self._age()) is not None:
                return
            running = self._running[key] = asyncio.get_running_loop().create_task(self._run(key, remember, work))
            running.add_done_callback(lambda _: self._running.pop(key, None))
        await asyncio.shield(running)

    async def _run(self, key: str, remember: float, work: Callable[[], Awaitable[None]]) -> None:
        await work()
        age = self._age()

        def unit(tx: sqlite3.Connection) -> None:
            rows.forget(tx, age, FORGET_AT_ONCE)
            rows.remember(tx, key, age, age + remember)

        await self._database.write(unit)
