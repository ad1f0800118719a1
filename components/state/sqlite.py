"""`state.sqlite`: one SQLite file, the same tables and rows as daprd's, so a file written by one opens in the other.

Layout (recorded from daprd 1.18.3): value is text, JSON as it is (is_binary 0) or base64 of bytes (is_binary 1); etag a UUID, new at
each write; expiration_time and update_time text `YYYY-MM-DD HH:MM:SS` in UTC. Expired rows are hidden by reads and removed by clean-up.
"""

from __future__ import annotations

import asyncio
import base64
import re
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar, TypeVar

from components.state._connection import Target, parse_connection
from components.state._ttl import parse_ttl
from edge import gobase64
from edge.component import Context, Feature
from edge.database import Database, Statement
from edge.database.faults import translate
from edge.eager import Deadlines, Prompt
from edge.errors import ComponentError, EtagMismatch, Invalid, Unavailable
from edge.events import new_id
from edge.model import NO_METADATA, BulkItem, DeleteItem, QueryResult, SetItem, StateItem
from edge.record import record
from edge.spec import Duration, meta

T = TypeVar("T")
MOST_KEYS = 500
LEAST_INTERVAL = 0.1
PLAIN_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d")
LIVE = "(expiration_time IS NULL OR expiration_time > CURRENT_TIMESTAMP)"
IDENTIFIER = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


@record
class Fields:
    """Fields of the component, as Dapr's state.sqlite has them."""

    connection_string: str = meta(
        doc="Path of the file, a `file:` URI, or `:memory:`.", aliases=("url",), example="data.db", missing="missing connection string"
    )
    timeout: Duration = meta(Duration(20), doc="Longest wait for an operation.", aliases=("timeoutInSeconds",), least=1)
    busy_timeout: Duration = meta(Duration(2), doc="How long a write waits for another process's lock.")
    disable_wal: bool = meta(False, doc="Use a rollback journal instead of the write-ahead log.", name="disableWAL")
    table_name: str = meta("state", doc="Table of the values; letters, digits and _.")
    metadata_table_name: str = meta("metadata", doc="Table of the schema level; letters, digits and _.")
    cleanup_interval: Duration = meta(
        Duration(0), doc="How often expired rows are removed; 0 = never.", aliases=("cleanupIntervalInSeconds",)
    )
    query_api: bool = meta(False, doc="Answer the alpha query API (edged only; daprd's state.sqlite has none).")


class Store:
    """One table of one file. Reads run on the event loop, writes share commits."""

    Metadata: ClassVar[type] = Fields
    features: frozenset[Feature] = frozenset((Feature.ETAG, Feature.TRANSACTIONAL, Feature.TTL, Feature.KEYS_LIKE, Feature.ACTOR))
    query: Callable[[Mapping[str, Any], Mapping[str, str]], Awaitable[QueryResult]]  # only there with `queryApi`
    max_operations: ClassVar[int] = 0

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata, self._context = metadata, context
        for name in (metadata.table_name, metadata.metadata_table_name):
            if not name or any(letter not in IDENTIFIER for letter in name):
                raise ComponentError(f"invalid identifier: {name}; table names have letters, digits and _ only")
        self._target: Target = parse_connection(metadata.connection_string, context, metadata.disable_wal, metadata.busy_timeout)
        self._database: Database
        self._own = False
        self._deadlines: Deadlines
        table = metadata.table_name
        columns = "key, value, is_binary, etag, expiration_time, update_time"
        row = "?, ?, ?, ?, CASE WHEN ? THEN DATETIME(CURRENT_TIMESTAMP, ? || ' seconds') END, CURRENT_TIMESTAMP"
        new = "value=excluded.value, is_binary=excluded.is_binary, etag=excluded.etag, expiration_time=excluded.expiration_time"
        new += ", update_time=CURRENT_TIMESTAMP"
        self._get = f"SELECT value, is_binary, etag, expiration_time FROM {table} WHERE key=? AND {LIVE}"
        self._upsert = f"INSERT INTO {table} ({columns}) VALUES ({row}) ON CONFLICT (key) DO UPDATE SET {new}"
        self._first = f"{self._upsert} WHERE NOT (state.expiration_time IS NULL OR state.expiration_time > CURRENT_TIMESTAMP)".replace(
            "state.", f"{table}."
        )
        self._guarded = (
            f"UPDATE {table} SET value=?, is_binary=?, etag=?, "
            "expiration_time=CASE WHEN ? THEN DATETIME(CURRENT_TIMESTAMP, ? || ' seconds') END, update_time=CURRENT_TIMESTAMP "
            f"WHERE key=? AND etag=? AND {LIVE}"
        )
        self._delete = f"DELETE FROM {table} WHERE key=?"
        self._delete_guarded = f"DELETE FROM {table} WHERE key=? AND etag=? AND {LIVE}"
        if metadata.query_api:
            self.query, self.features = self._query, Store.features | {Feature.QUERY_API}

    async def open(self) -> None:
        """Open or create the file and its tables. Raises Unavailable, Full."""
        self._deadlines = Deadlines(self.metadata.timeout, self._late)
        if self._target.shared:
            self._database = await self._context.database()
        else:
            self._database, self._own = Database(self._target.uri, self._target.options), True
            await self._database.start()
        if not self._target.options.read_only:
            await self._database.write(self._migrate)
        if self.metadata.cleanup_interval > 0 and not self._target.options.read_only:
            self._context.tasks.spawn(f"clean-up[{self._context.name}]", self._clean_up)

    async def close(self) -> None:
        if self._own:
            await self._database.close()

    def _migrate(self, tx: sqlite3.Connection) -> None:
        table, about = self.metadata.table_name, self.metadata.metadata_table_name
        tx.execute(f"CREATE TABLE IF NOT EXISTS {about} (key text NOT NULL PRIMARY KEY, value text NOT NULL)")
        level = tx.execute(f"SELECT value FROM {about} WHERE key='migrations'").fetchone()
        if level is not None and int(level[0]) > 1:
            raise Unavailable(f"{self._target.uri}: its tables have level {level[0]}, this edged knows 1; a newer Dapr wrote them")
        tx.execute(
            f"CREATE TABLE IF NOT EXISTS {table} (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, is_binary BOOLEAN NOT NULL,"
            " etag TEXT NOT NULL, expiration_time TIMESTAMP DEFAULT NULL, update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        tx.execute(f"INSERT INTO {about} (key, value) VALUES ('migrations', '1') ON CONFLICT (key) DO NOTHING")

    # --- reads
    def get_now(self, key: str) -> StateItem | None:
        """The value, read on the loop. Raises ComponentError, Unavailable (another process holds the file)."""
        _require(key, "get operation")
        try:
            return self._item(key, self._database.row_now(self._get, key))
        except sqlite3.Error as error:
            raise translate(error, self._context.name) from error

    async def get(self, key: str) -> StateItem | None:
        """The value; where another process's lock is in the way it waits for that off the loop. Raises ComponentError, Unavailable."""
        _require(key, "get operation")
        rows = await self._database.read(self._get, key)
        return self._item(key, rows[0] if rows else None)

    @staticmethod
    def _item(key: str, row: tuple[Any, ...] | None) -> StateItem | None:
        return None if row is None else StateItem(key, _bytes(row[0], row[1]), row[2], _expiry(row[3]))

    async def get_many(self, keys: Sequence[str]) -> list[BulkItem]:
        """Found keys first, in the table's order, each once; then one item for each missing one."""
        found: dict[str, BulkItem] = {}
        for start in range(0, len(keys), MOST_KEYS):
            part = keys[start : start + MOST_KEYS]
            marks = ", ".join("?" * len(part))
            sql = f"SELECT key, value, is_binary, etag, expiration_time FROM {self.metadata.table_name} WHERE key IN ({marks}) AND {LIVE}"
            for key, value, binary, etag, expires in await self._database.read(sql, *part):
                found[key] = _bulk_item(key, value, binary, etag, expires)
        return [*found.values(), *(BulkItem(key) for key in keys if key not in found)]

    async def keys_like(self, pattern: str, limit: int, token: str) -> tuple[list[str], str]:
        """Keys that match an SQL LIKE pattern; the token is a row number."""
        matching = f"rowid > ? AND key LIKE ? ESCAPE '\\' AND {LIVE}"
        sql = f"SELECT rowid, key FROM {self.metadata.table_name} WHERE {matching} ORDER BY rowid LIMIT ?"
        rows = await self._database.scan(sql, int(token or 0), pattern, limit + 1)
        page = rows[:limit]
        return [row[1] for row in page], str(page[-1][0]) if len(rows) > limit else ""

    async def _query(self, query: Mapping[str, Any], metadata: Mapping[str, str]) -> QueryResult:
        """Values by their content; the token is a number of rows. Raises Invalid."""
        from components.state._sqlite_query import statement  # few stores are queried

        sql, parameters, page = statement(query, self.metadata.table_name, LIVE)
        rows = await self._database.scan(sql, *parameters)
        return QueryResult([_bulk_item(key, value, binary, etag, None) for key, value, binary, etag in rows], page.token(len(rows)))

    # --- writes
    async def set(self, item: SetItem) -> None:
        """Raises EtagMismatch, Invalid (ttl), Full, Unavailable."""
        unit = self._setter(item)
        await self._write(unit)

    async def set_many(self, items: Sequence[SetItem]) -> list[ComponentError | None]:
        """One commit for all that can be stored; each item fails alone."""
        results = await asyncio.gather(*(self.set(item) for item in items), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, ComponentError):
                raise result
        return [result if isinstance(result, ComponentError) else None for result in results]

    async def delete(self, item: DeleteItem) -> None:
        """A missing key without etag is deleted already. Raises EtagMismatch."""
        await self._write(self._remover(item))

    async def transact(self, operations: Sequence[SetItem | DeleteItem], metadata: Mapping[str, str]) -> None:
        """All or nothing, in order."""
        units = self._units(operations)

        def together(tx: sqlite3.Connection) -> None:
            for unit in units:
                unit(tx)

        await self._write(together)

    @property
    def unit_database(self) -> Database:
        """The file that `transact_in` belongs to."""
        return self._database

    def transact_in(self, tx: sqlite3.Connection, operations: Sequence[SetItem | DeleteItem]) -> None:
        """`transact` inside a unit of `unit_database`."""
        for unit in self._units(operations):
            unit(tx)

    def _units(self, operations: Sequence[SetItem | DeleteItem]) -> list[Callable[[sqlite3.Connection], None]]:
        return [self._setter(op) if isinstance(op, SetItem) else self._remover(op) for op in operations]

    def _setter(self, item: SetItem) -> Statement:
        _require(item.key, "set option")
        ttl = parse_ttl(item.metadata)
        expires = ttl is not None and ttl > 0
        value = item.value.decode() if item.is_json else base64.b64encode(item.value).decode()
        content = (value, not item.is_json, new_id(), expires, ttl or 0)
        if item.etag:
            return Statement(self._guarded, (*content, item.key, item.etag), EtagMismatch)
        if item.concurrency == "first-write":
            return Statement(self._first, (item.key, *content), EtagMismatch)
        return Statement(self._upsert, (item.key, *content))

    def _remover(self, item: DeleteItem) -> Statement:
        _require(item.key, "delete operation")
        if not item.etag:
            return Statement(self._delete, (item.key,))
        return Statement(self._delete_guarded, (item.key, item.etag), EtagMismatch)

    async def _write(self, unit: Callable[[sqlite3.Connection], T]) -> T:
        """`Database.write` that gives the caller up after `timeout`; the unit itself still completes."""
        future: Prompt[T] = Prompt(self._deadlines.loop)
        self._database.submit(unit, partial(_settle, future))
        self._deadlines.add(future)
        try:
            return await future
        except sqlite3.Error as error:
            raise ComponentError(str(error)) from error

    def _late(self) -> Exception:
        return Unavailable(
            f"state store {self._context.name} did not answer within {self.metadata.timeout:g} s; its disk is slow or locked"
        )

    # --- expiry
    async def _clean_up(self) -> None:
        interval = max(self.metadata.cleanup_interval, LEAST_INTERVAL)
        while True:
            await asyncio.sleep(interval)
            await self._database.write(partial(self._sweep, pause=interval - LEAST_INTERVAL))

    def _sweep(self, tx: sqlite3.Connection, pause: float) -> None:
        """Remove expired rows, unless another process did so within the interval."""
        about = self.metadata.metadata_table_name
        claimed = tx.execute(
            f"INSERT INTO {about} (key, value) VALUES ('last-cleanup', CURRENT_TIMESTAMP) ON CONFLICT (key) DO UPDATE SET "
            f"value=CURRENT_TIMESTAMP WHERE unixepoch(CURRENT_TIMESTAMP) - unixepoch({about}.value) > ?",
            (pause,),
        )
        if claimed.rowcount:
            table = self.metadata.table_name
            tx.execute(f"DELETE FROM {table} WHERE expiration_time IS NOT NULL AND expiration_time < CURRENT_TIMESTAMP")


def _require(key: str, asked: str) -> None:
    if not key:
        raise Invalid(f"missing key in {asked}")


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _bytes(value: Any, binary: Any) -> bytes:
    text = str(value)
    if str(binary) not in ("1", "True", "true"):
        return text.encode()
    try:
        return gobase64.decode(text)
    except ValueError as error:
        raise ComponentError(f"failed to decode binary data: {error}") from None


def _expiry(expires: str | None) -> Mapping[str, str]:
    """expires: as SQLite's functions write it; other programs may write an offset, too."""
    if expires is None:
        return NO_METADATA
    if PLAIN_TIME.fullmatch(expires):
        return {"ttlExpireTime": f"{expires.replace(' ', 'T')}Z"}
    try:
        moment = datetime.fromisoformat(expires)
    except ValueError:
        raise ComponentError(f"the expiration_time {expires!r} in the table is no time") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return {"ttlExpireTime": f"{moment:%Y-%m-%dT%H:%M:%S}Z"}


def _bulk_item(key: str, value: Any, binary: Any, etag: str, expires: str | None) -> BulkItem:
    try:
        return BulkItem(key, _bytes(value, binary), etag, _expiry(expires))
    except ComponentError as error:
        return BulkItem(key, error=str(error))
