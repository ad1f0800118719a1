"""`configuration.sqlite`: configuration items in one file, set with `edged config set` or by any program that writes the table.

Columns are those of Dapr's PostgreSQL store: key, value, version, metadata (a JSON object). Subscribers are told within `pollInterval`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar

from components._sqlite import File, identifier
from edge.component import Context, Feature, Unsubscribe
from edge.model import ConfigItem
from edge.record import record
from edge.spec import Duration, meta

log = logging.getLogger("dapr.contrib")
Changed = Callable[[dict[str, ConfigItem]], Awaitable[None]]
MOST_KEYS = 500


@record
class Fields:
    """Fields of the component."""

    connection_string: str = meta("", doc="Path of the file; empty = the daemon's own.", aliases=("url",), example="settings.db")
    table: str = meta("configuration", doc="Table of the items; letters, digits and _.")
    poll_interval: Duration = meta(Duration(1), doc="How often changes are looked for, while somebody is subscribed.", least=0.01)


def create(tx: sqlite3.Connection, table: str) -> None:
    """Make the table, if it is not there."""
    columns = "key TEXT PRIMARY KEY, value TEXT NOT NULL, version TEXT NOT NULL DEFAULT '', metadata TEXT NOT NULL DEFAULT '{}'"
    tx.execute(f"CREATE TABLE IF NOT EXISTS {identifier(table)} ({columns})")


def put(tx: sqlite3.Connection, table: str, key: str, value: str, metadata: Mapping[str, str] | None = None) -> str:
    """Set an item; its new version is returned: one more than the old, from 1."""
    row = tx.execute(f"SELECT version FROM {table} WHERE key = ?", (key,)).fetchone()
    version = str(int(row[0]) + 1 if row is not None and row[0].isdigit() else 1)
    changes = "value=excluded.value, version=excluded.version, metadata=excluded.metadata"
    sql = f"INSERT INTO {table} (key, value, version, metadata) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET {changes}"
    tx.execute(sql, (key, value, version, json.dumps(dict(metadata or {}))))
    return version


class Store:
    """One table of items."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata, self._context = metadata, context
        self._table = identifier(metadata.table)
        self._watching: set[asyncio.Task[None]] = set()
        self._file: File

    async def open(self) -> None:
        """Raises Unavailable, Full."""
        self._file = await File.open(self.metadata.connection_string, self._context)
        await self._file.database.write(lambda tx: create(tx, self._table))

    async def close(self) -> None:
        for task in tuple(self._watching):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._file.close()

    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> dict[str, ConfigItem]:
        """The items that are there; no keys = all."""
        found: dict[str, ConfigItem] = {}
        for start in range(0, max(len(keys), 1), MOST_KEYS):
            some = tuple(keys[start : start + MOST_KEYS])
            where = f" WHERE key IN ({','.join('?' * len(some))})" if some else ""
            rows = await self._file.database.read(f"SELECT key, value, version, metadata FROM {self._table}{where} ORDER BY key", *some)
            found |= {key: ConfigItem(value, version, _metadata(text)) for key, value, version, text in rows}
        return found

    async def subscribe(self, keys: Sequence[str], changed: Changed, metadata: Mapping[str, str]) -> Unsubscribe:
        """Call `changed` with the items that are new or different; a deleted one is an empty item."""
        level = await self._level()  # before the items: what changes from here on is told
        before = await self.get(keys, metadata)
        task = self._context.tasks.spawn(f"configuration[{self._context.name}]", lambda: self._watch(tuple(keys), changed, before, level))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

        async def unsubscribe() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        return unsubscribe

    async def _watch(self, keys: Sequence[str], changed: Changed, before: dict[str, ConfigItem], level: int) -> None:
        while True:
            await asyncio.sleep(self.metadata.poll_interval)
            if (new := await self._level()) == level:
                continue
            level, now = new, await self.get(keys, {})
            different = {key: item for key, item in now.items() if before.get(key) != item}
            different |= {key: ConfigItem("") for key in before if key not in now}
            before.clear()
            before.update(now)
            if different:
                await changed(different)

    async def _level(self) -> int:
        """A number that changes with each commit of another connection (SQLite's data_version), so that most looks cost nothing."""
        return int((await self._file.database.read("PRAGMA data_version"))[0][0])


def _metadata(text: str | None) -> dict[str, str]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}
