"""`nameresolution.sqlite`: apps of one machine by rows in a file that daprd's share: same tables, same rules.

A row counts while it is younger than `updateInterval`, so each sidecar renews its own in time; a fresh one is chosen at random. A row that
somebody deleted is written again (daprd ends its process there). Source: components-contrib nameresolution/sqlite @1.18.4.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from dataclasses import replace
from typing import ClassVar
from uuid import uuid4

from components._sqlite import identifier
from components.state._connection import parse_connection
from edge.component import Context, Feature
from edge.database import Database
from edge.errors import ComponentError, NotFound
from edge.model import Address
from edge.record import record
from edge.spec import Duration, meta

log = logging.getLogger("dapr.nameresolution.sqlite")
NO_HOST = "no host found with the given ID"
NOW = "unixepoch(CURRENT_TIMESTAMP)"
LEAST_SPARE = 1.0
LONGEST_AGE = 3600.0


@record
class Fields:
    """Fields of the component."""

    connection_string: str = meta(
        doc="Path of the file that all sidecars share.", aliases=("url",), example="names.db", missing="missing connection string"
    )
    table_name: str = meta("hosts", doc="Table of the sidecars; letters, digits and _.")
    metadata_table_name: str = meta("metadata", doc="Table of the schema level.")
    update_interval: Duration = meta(Duration(5), doc="How long a row counts; it is renewed before. Whole seconds.")
    cleanup_interval: Duration = meta(
        Duration(3600), doc="How often rows of dead sidecars are removed.", aliases=("cleanupIntervalInSeconds",)
    )
    timeout: Duration = meta(Duration(1), doc="Longest wait for an operation.", aliases=("timeoutInSeconds",))
    busy_timeout: Duration = meta(Duration(0.8), doc="How long a write waits for another process's lock.")
    disable_wal: bool = meta(False, doc="Use a rollback journal instead of the write-ahead log.", name="disableWAL")


class Resolver:
    """The rows of one daemon's apps."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata, self._context = metadata, context
        self._table, self._about = identifier(metadata.table_name), identifier(metadata.metadata_table_name)
        if metadata.update_interval % 1:
            raise ComponentError("update interval must not contain fractions of seconds")
        if metadata.update_interval - metadata.timeout < LEAST_SPARE:
            raise ComponentError("update interval must be at least 1s greater than timeout")
        self._target = parse_connection(metadata.connection_string, context, metadata.disable_wal, metadata.busy_timeout)
        self._rows: dict[str, tuple[str, str, str]] = {}
        self._database: Database
        self._renewing: list[asyncio.Task[None]] = []
        self._fresh = f"{NOW} - last_update < {int(metadata.update_interval)}"

    async def open(self) -> None:
        """Open or create the file and its tables. Raises Unavailable, Full."""
        options = self._target.options  # a row is written every few seconds and means nothing after a power cut: no flush
        self._database = Database(self._target.uri, replace(options, pragmas=("synchronous=NORMAL", *options.pragmas)))
        await self._database.start()
        await self._database.write(self._create)
        spawn = self._context.tasks.spawn
        self._renewing = [spawn("names.renew", self._renew), spawn("names.clean-up", self._clean_up)]

    async def close(self) -> None:
        for task in self._renewing:
            task.cancel()
        rows, self._rows = list(self._rows.values()), {}
        sql = f"DELETE FROM {self._table} WHERE registration_id = ? AND address = ?"
        if rows:
            await self._database.write(lambda tx: tx.executemany(sql, [row[:2] for row in rows]))
        await self._database.close()

    async def register(self, app_id: str, address: Address) -> None:
        """Take the address over from whoever had it."""
        host = f"[{address.host}]" if ":" in address.host else address.host
        row = self._rows[app_id] = (str(uuid4()), f"{host}:{address.port}", app_id)
        await self._database.write(lambda tx: self._put(tx, row))

    async def resolve(self, app_id: str, namespace: str) -> Address:
        """Raises NotFound."""
        sql = f"SELECT address FROM {self._table} WHERE app_id = ? AND {self._fresh} ORDER BY RANDOM() LIMIT 1"
        found = self._database.row_now(sql, app_id)
        if found is None:
            raise NotFound(NO_HOST)
        host, _, port = str(found[0]).rpartition(":")
        return Address(host.strip("[]"), int(port))

    def _put(self, tx: sqlite3.Connection, row: tuple[str, str, str]) -> None:
        tx.execute(
            f"REPLACE INTO {self._table} (registration_id, address, app_id, namespace, last_update) VALUES (?, ?, ?, '', {NOW})", row
        )

    def _create(self, tx: sqlite3.Connection) -> None:
        tx.execute(f"CREATE TABLE IF NOT EXISTS {self._about} (key text NOT NULL PRIMARY KEY, value text NOT NULL)")
        columns = "registration_id TEXT NOT NULL PRIMARY KEY, address TEXT NOT NULL, app_id TEXT NOT NULL, namespace TEXT NOT NULL"
        tx.execute(f"CREATE TABLE IF NOT EXISTS {self._table} ({columns}, last_update INTEGER NOT NULL)")
        tx.execute(f"CREATE UNIQUE INDEX IF NOT EXISTS {self._table}_address_idx ON {self._table} (address)")
        tx.execute(f"CREATE INDEX IF NOT EXISTS {self._table}_last_update_idx ON {self._table} (last_update)")
        tx.execute(f"REPLACE INTO {self._about} (key, value) VALUES ('nr-migrations', '1')")

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self.metadata.update_interval - self.metadata.timeout)
            try:
                await self._database.write(self._touch)
            except ComponentError as error:
                log.error("Failed to update host registration: %s", error)

    def _touch(self, tx: sqlite3.Connection) -> None:
        sql = f"UPDATE {self._table} SET last_update = {NOW} WHERE registration_id = ? AND address = ?"
        for row in list(self._rows.values()):
            if tx.execute(sql, row[:2]).rowcount == 0:
                self._put(tx, row)

    async def _clean_up(self) -> None:
        while self.metadata.cleanup_interval > 0:
            await asyncio.sleep(self.metadata.cleanup_interval)
            try:
                await self._database.write(self._remove_dead)
            except ComponentError as error:
                log.warning("names of dead sidecars could not be removed: %s", error)

    def _remove_dead(self, tx: sqlite3.Connection) -> None:
        tx.execute(f"DELETE FROM {self._table} WHERE {NOW} - last_update > {int(LONGEST_AGE)}")
