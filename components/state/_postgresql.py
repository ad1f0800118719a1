"""What both layouts of state.postgresql share: one table, Dapr's rules in SQL, clean-up by whichever process comes first.

Source: components-contrib state/postgresql, common/component/sql @1.18.4 (tables, keys of the metadata table, texts).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from components._postgresql import Pool, PostgresFields
from components.state._postgresql_tables import Migration, migrate
from components.state._ttl import parse_ttl
from edge.component import Ask, Context, Feature
from edge.errors import ComponentError, EtagMismatch, Invalid
from edge.model import NO_METADATA, BulkItem, DeleteItem, SetItem, StateItem
from edge.record import record
from edge.spec import Duration, meta

T = TypeVar("T")
log = logging.getLogger("dapr.contrib")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?")
MARGIN_MS = 100
ENDED = "no item was updated"


@record
class Fields(PostgresFields):
    """Fields of both layouts."""

    metadata_table_name: str = meta("dapr_metadata", doc="Table of the schema levels, `table` or `schema.table`.")
    cleanup_interval: Duration = meta(
        Duration(3600), doc="How often expired rows are removed; 0 = never.", aliases=("cleanupIntervalInSeconds",)
    )


@record
class Layout:
    """Names that differ. stored: `table (columns)` of an insert with three values; etag_type: SQL type of an etag."""

    table: str
    columns: str
    values: str
    changes: str
    etag: str
    etag_type: str
    expires: str
    last_cleanup: str
    binary: str


class PostgresStore:
    """A table of values. A layout says how a value and an etag are written."""

    features: ClassVar[frozenset[Feature]] = frozenset((Feature.ETAG, Feature.TRANSACTIONAL, Feature.TTL, Feature.KEYS_LIKE, Feature.ACTOR))
    max_operations: ClassVar[int] = 0
    unchecked: ClassVar[frozenset[Ask]] = frozenset((Ask.DELETE, Ask.DELETE_IN_TRANSACTION))
    migrations: ClassVar[tuple[Migration, ...]] = ()

    def __init__(self, metadata: Fields, context: Context, layout: Layout, level_key: str) -> None:
        for name in (layout.table, metadata.metadata_table_name):
            if not NAME.fullmatch(name):
                raise ComponentError(f"invalid table name {name}; it is letters, digits and _, perhaps behind a schema and a dot")
        self.fields, self._context, self._layout, self._level_key = metadata, context, layout, level_key
        self._pool = Pool(metadata, context, self._prepare)
        self._cleaning: asyncio.Task[None] | None = None
        table, expires, etag = layout.table, layout.expires, layout.etag
        live = f"({expires} IS NULL OR {expires} >= now())"
        shown = f"key, value, {layout.binary} AS isbinary, {etag} AS etag, {expires} AS expires"
        self._get = f"SELECT {shown} FROM {table} WHERE key = $1 AND {live}"
        self._get_many = f"SELECT {shown} FROM {table} WHERE key = ANY($1::text[]) AND {live}"
        insert = f"INSERT INTO {table} AS t ({layout.columns}) VALUES ({layout.values}) ON CONFLICT (key) DO UPDATE SET {layout.changes}"
        self._upsert = insert
        self._first = f"{insert} WHERE t.{expires} IS NOT NULL AND t.{expires} < now()"
        changes = layout.changes.replace("excluded.value", "$2").replace("excluded.isbinary", "$4::boolean")
        changes = changes.replace(f"excluded.{expires}", "now() + make_interval(secs => $3::float8)")
        at = layout.values.count("$") + 1
        self._guarded = f"UPDATE {table} SET {changes} WHERE key = $1 AND {etag} = ${at}::{layout.etag_type} AND {live}"
        self._delete = f"DELETE FROM {table} WHERE key = $1"
        self._delete_guarded = f"{self._delete} AND {etag} = $2::{layout.etag_type}"
        self._keys = f"SELECT key, row_id FROM {table} WHERE key LIKE $1 ESCAPE '\\' AND row_id > $2 AND {live} ORDER BY row_id LIMIT $3"

    # --- what a layout says
    def encode(self, item: SetItem) -> tuple[Any, ...]:
        """Values of the columns behind key and value… in the order of the insert's parameters: value, seconds, more."""
        raise NotImplementedError

    def decode(self, row: Any) -> bytes:
        raise NotImplementedError

    def etag_of(self, text: str) -> Any:
        """Raises EtagMismatch, EtagInvalid."""
        raise NotImplementedError

    # --- life
    async def open(self) -> None:
        """Raises ComponentError; a server that is away is none."""
        await self._pool.open()
        if self.fields.cleanup_interval > 0:
            self._cleaning = self._context.tasks.spawn(f"clean-up[{self._context.name}]", self._clean_up)

    async def close(self) -> None:
        if self._cleaning is not None:
            self._cleaning.cancel()
        await self._pool.close()

    def unhealthy(self) -> str | None:
        return self._pool.server.unhealthy()

    async def _prepare(self, connection: Any) -> None:
        await migrate(connection, self.fields.metadata_table_name, self._level_key, self._layout.table, self.migrations)

    # --- reads
    async def get(self, key: str) -> StateItem | None:
        """Raises Unavailable, ComponentError."""
        _require(key, "get")
        row = await self._pool.run(lambda connection: connection.fetchrow(self._get, key))
        return None if row is None else StateItem(key, self.decode(row), str(row["etag"]), _expiry(row["expires"]))

    async def get_many(self, keys: Sequence[str]) -> list[BulkItem]:
        """Found keys first, in the table's order; each once; then one item for each missing one."""
        rows = await self._pool.run(lambda connection: connection.fetch(self._get_many, list(keys)))
        found = {row["key"]: self.bulk_item(row) for row in rows}
        return [*found.values(), *(BulkItem(key) for key in keys if key not in found)]

    def bulk_item(self, row: Any) -> BulkItem:
        try:
            return BulkItem(row["key"], self.decode(row), str(row["etag"]), _expiry(row["expires"]))
        except ComponentError as error:
            return BulkItem(row["key"], error=str(error))

    async def keys_like(self, pattern: str, limit: int, token: str) -> tuple[list[str], str]:
        """Keys that match an SQL LIKE pattern, in the order of their first write; the token is a row's number."""
        rows = await self._pool.run(lambda connection: connection.fetch(self._keys, pattern, int(token or 0), limit + 1))
        return [row["key"] for row in rows[:limit]], str(rows[limit - 1]["row_id"]) if len(rows) > limit else ""

    # --- writes
    async def set(self, item: SetItem) -> None:
        """Raises EtagMismatch, EtagInvalid, Invalid (ttl), Unavailable."""
        work = self._setting(item)
        await self._pool.run(work)

    async def delete(self, item: DeleteItem) -> None:
        """A missing key without etag is deleted already. Raises EtagMismatch, EtagInvalid."""
        work = self._deleting(item)
        await self._pool.run(work)

    async def transact(self, operations: Sequence[SetItem | DeleteItem], metadata: Mapping[str, str]) -> None:
        """All or nothing, in order."""
        work = [self._setting(op) if isinstance(op, SetItem) else self._deleting(op) for op in operations]

        async def together(connection: Any) -> None:
            async with connection.transaction():
                for each in work:
                    await each(connection)

        await self._pool.run(together)

    def _setting(self, item: SetItem) -> Callable[[Any], Awaitable[None]]:
        _require(item.key, "set")
        value, *more = self.encode(item)
        ttl = parse_ttl(item.metadata)
        arguments = [item.key, value, float(ttl) if ttl is not None and ttl > 0 else None, *more]
        sql = self._first if item.concurrency == "first-write" else self._upsert
        if item.etag:
            sql, arguments = self._guarded, [*arguments, self.etag_of(item.etag)]

        async def write(connection: Any) -> None:
            if _count(await connection.execute(sql, *arguments)) != 1:
                raise EtagMismatch("") if item.etag else Invalid(ENDED)

        return write

    def _deleting(self, item: DeleteItem) -> Callable[[Any], Awaitable[None]]:
        _require(item.key, "delete")
        etag = self.etag_of(item.etag) if item.etag else None

        async def remove(connection: Any) -> None:
            if etag is None:
                await connection.execute(self._delete, item.key)
            elif _count(await connection.execute(self._delete_guarded, item.key, etag)) != 1:
                raise EtagMismatch("")

        return remove

    # --- expiry
    async def _clean_up(self) -> None:
        while True:
            await asyncio.sleep(self.fields.cleanup_interval)
            try:
                await self._pool.run(self._sweep)
            except ComponentError as error:
                log.error("Error removing expired data of %s: %s", self._context.name, error)

    async def _sweep(self, connection: Any) -> None:
        """Remove expired rows, unless another process did so within the interval."""
        about, layout = self.fields.metadata_table_name, self._layout
        pause_ms = round(self.fields.cleanup_interval * 1000) - MARGIN_MS
        claim = (
            f"INSERT INTO {about} (key, value) VALUES ($1, now()::text) ON CONFLICT (key) DO UPDATE SET value = now()::text "
            f"WHERE (EXTRACT('epoch' FROM now() - {about}.value::timestamptz) * 1000)::bigint > $2"
        )
        if _count(await connection.execute(claim, layout.last_cleanup, pause_ms)):
            await connection.execute(f"DELETE FROM {layout.table} WHERE {layout.expires} IS NOT NULL AND {layout.expires} < now()")


def _require(key: str, operation: str) -> None:
    if not key:
        raise Invalid(f"missing key in {operation} operation")


def _count(status: str) -> int:
    """Rows of `INSERT 0 1`, `UPDATE 1`, `DELETE 1`."""
    return int(status.rpartition(" ")[2])


def _expiry(moment: datetime | None) -> Mapping[str, str]:
    if moment is None:
        return NO_METADATA
    return {"ttlExpireTime": moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")}
