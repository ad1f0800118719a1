"""`lock.sqlite`: locks between the processes of this machine, rows in one file.

A lock ends by itself after its expiry. That is counted on the machine's boot clock, which no change of the wall clock moves; after a
reboot, when that clock has begun anew, the wall clock decides.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import ClassVar

from components._sqlite import File, identifier
from edge.component import Context, Feature
from edge.model import UnlockStatus
from edge.record import record
from edge.spec import meta

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@record
class Fields:
    """Fields of the component."""

    connection_string: str = meta("", doc="Path of the file; empty = the daemon's own.", example="locks.db")
    table_name: str = meta("locks", doc="Table of the locks; letters, digits and _.")


class Store:
    """One table of locks."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata, self._context = metadata, context
        self._table = identifier(metadata.table_name)
        self._boot = ""
        self._file: File

    async def open(self) -> None:
        """Raises Unavailable, Full."""
        self._boot = _boot_id()
        self._file = await File.open(self.metadata.connection_string, self._context)
        columns = (
            "resource TEXT PRIMARY KEY, owner TEXT NOT NULL, boot TEXT NOT NULL, until_boot_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL"
        )
        await self._file.database.write(lambda tx: tx.execute(f"CREATE TABLE IF NOT EXISTS {self._table} ({columns})"))

    async def close(self) -> None:
        await self._file.close()

    async def try_lock(self, resource: str, owner: str, expiry: float) -> bool:
        """Take the lock for so many seconds; False if somebody has it, the same owner included."""

        def take(tx: sqlite3.Connection) -> bool:
            self._forget(tx, resource)
            until = (round((clock + expiry) * 1000) for clock in (_boot_clock(), time.time()))
            row = (resource, owner, self._boot, *until)
            return tx.execute(f"INSERT INTO {self._table} VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row).rowcount == 1

        return await self._file.database.write(take)

    async def unlock(self, resource: str, owner: str) -> UnlockStatus:
        """Give the lock back, if this owner has it."""

        def give(tx: sqlite3.Connection) -> UnlockStatus:
            self._forget(tx, resource)
            row = tx.execute(f"SELECT owner FROM {self._table} WHERE resource = ?", (resource,)).fetchone()
            if row is None:
                return UnlockStatus.DOES_NOT_EXIST
            if row[0] != owner:
                return UnlockStatus.BELONGS_TO_OTHERS
            tx.execute(f"DELETE FROM {self._table} WHERE resource = ?", (resource,))
            return UnlockStatus.SUCCESS

        return await self._file.database.write(give)

    def _forget(self, tx: sqlite3.Connection, resource: str) -> None:
        """Delete the lock if it has expired."""
        over = "CASE WHEN boot = ? THEN until_boot_ms <= ? ELSE until_ms <= ? END"
        now = (round(_boot_clock() * 1000), round(time.time() * 1000))
        tx.execute(f"DELETE FROM {self._table} WHERE resource = ? AND {over}", (resource, self._boot, *now))


def _boot_clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
