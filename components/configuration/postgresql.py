"""`configuration.postgresql`: items are rows of a table that the operator makes; changes come by LISTEN/NOTIFY.

A trigger of the table sends `{"data": {row}}` on the channel. Source: components-contrib configuration/postgres @1.18.4; differs: a
subscription outlives a broken connection and tells what changed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

import orjson

from components._postgresql import Pool, PostgresFields
from edge.component import Context, Feature, Unsubscribe
from edge.errors import ComponentError, Invalid
from edge.model import ConfigItem
from edge.record import record
from edge.spec import Duration, meta

log = logging.getLogger("dapr.contrib")
Changed = Callable[[dict[str, ConfigItem]], Awaitable[None]]
KEY = re.compile(r"[a-zA-Z0-9./_]*")
NAME = re.compile(r"[a-z0-9./_]+")
LONGEST = 64
LISTEN, PAUSE, LONGEST_PAUSE = 1.0, 0.1, 5.0
CHANNEL = "notifyChannel"


@record
class Fields(PostgresFields):
    """Fields of the component."""

    table: str = meta(
        doc="Table of the items: key, value, version, metadata.",
        example="configuration",
        missing="missing postgreSQL configuration table name",
    )
    notify_channel: str = meta("", doc="Channel of the table's trigger.", aliases=("pgNotifyChannel",))
    conn_max_idle_time: Duration = meta(Duration(0), doc="Old name of connectionMaxIdleTime.")


class Store:
    """One table of items."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        _check_table(metadata.table)
        if metadata.notify_channel:
            _check_channel(metadata.notify_channel)
        self._fields, self._context = metadata, context
        self._pool = Pool(metadata, context, self._look)
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Raises ComponentError (there is no such table); a server that is away is none."""
        await self._pool.open()

    async def close(self) -> None:
        for task in tuple(self._tasks):
            await _end(task)
        await self._pool.close()

    def unhealthy(self) -> str | None:
        return self._pool.server.unhealthy()

    async def _look(self, connection: Any) -> None:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_tables WHERE tablename = $1)", self._fields.table):
            raise ComponentError(f"postgreSQL configuration table '{self._fields.table}' does not exist")

    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> dict[str, ConfigItem]:
        """The items that are there; no keys = all. Of several rows the one with the highest number as version."""
        for key in keys:
            if not KEY.fullmatch(key):
                raise Invalid(f"invalid key : '{key}'")
        where = " WHERE key = ANY($1::text[])" if keys else ""
        sql = f"SELECT key, value, version, metadata FROM {self._fields.table}{where}"
        rows = await self._pool.run(lambda connection: connection.fetch(sql, *([list(keys)] if keys else [])))
        best: dict[str, Any] = {}
        for row in rows:
            if row["key"] not in best or _number(row["version"]) > _number(best[row["key"]]["version"]):
                best[row["key"]] = row
        return {key: ConfigItem(row["value"], row["version"] or "", _texts(row["metadata"])) for key, row in best.items()}

    async def subscribe(self, keys: Sequence[str], changed: Changed, metadata: Mapping[str, str]) -> Unsubscribe:
        """Call `changed` with each row that the trigger sends. Raises Invalid without a channel."""
        asked = next((value for key, value in (metadata or {}).items() if key.lower() == "pgnotifychannel"), "")
        channel = self._fields.notify_channel or asked
        if not channel:
            raise Invalid(f'unable to subscribe to "{self._fields.table}". {CHANNEL} must be set in component metadata or request metadata')
        _check_channel(channel)
        listening = asyncio.Event()
        watch = _Watch(self, tuple(keys), channel, changed, listening)
        task = self._context.tasks.spawn(f"configuration[{self._context.name}]", watch.run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(listening.wait(), LISTEN)

        async def unsubscribe() -> None:
            await _end(task)

        return unsubscribe

    @property
    def pool(self) -> Pool:
        return self._pool


class _Watch:
    """One subscription on one channel."""

    def __init__(self, store: Store, keys: tuple[str, ...], channel: str, changed: Changed, listening: asyncio.Event) -> None:
        self._store, self._keys, self._channel, self._changed, self._listening = store, keys, channel, changed, listening
        self._before: dict[str, ConfigItem] | None = None

    async def run(self) -> None:
        pause = PAUSE
        while True:
            try:
                async with self._store.pool.apart() as connection:
                    await self._listen(connection)
                pause = PAUSE
            except ComponentError as error:
                log.warning("the configuration subscription on %s ended and is tried again: %s", self._channel, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _listen(self, connection: Any) -> None:
        """Until the connection ends; what changed before it began is told first."""
        payloads: asyncio.Queue[str | None] = asyncio.Queue()

        def notified(_: Any, __: int, ___: str, payload: str) -> None:
            payloads.put_nowait(payload)

        def ended(_: Any) -> None:
            payloads.put_nowait(None)

        await connection.add_listener(self._channel, notified)
        connection.add_termination_listener(ended)
        try:
            now = await self._store.get(self._keys, {})
            before, self._before = self._before, now
            if before is not None and (missed := {key: item for key, item in now.items() if before.get(key) != item}):
                await self._changed(missed)
            self._listening.set()
            while (payload := await payloads.get()) is not None:
                await self._tell(payload)
        finally:
            connection.remove_termination_listener(ended)

    async def _tell(self, payload: str) -> None:
        try:
            row = orjson.loads(payload)["data"]
            found = {str(key).lower(): value for key, value in row.items()}
            key, item = str(found["key"]), ConfigItem(_text(found.get("value")), _text(found.get("version")), _texts(found.get("metadata")))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            log.info("unknown format of data received in notify event - '%s'", payload)
            return
        if not self._keys or key in self._keys:
            if self._before is not None:
                self._before[key] = item
            await self._changed({key: item})


def _check_table(name: str) -> None:
    if len(name) > LONGEST:
        raise Invalid(f"table name is too long - tableName : '{name}'. max allowed field length is {LONGEST}")
    if not NAME.fullmatch(name) or "/" in name:
        raise Invalid(f"invalid table name '{name}'. non-alphanumerics or upper cased table names are not supported")


def _check_channel(name: str) -> None:
    if len(name) > LONGEST:
        raise Invalid(f'{CHANNEL} name is too long - "{name}". max allowed length is {LONGEST}')
    if not NAME.fullmatch(name):
        raise Invalid(f'invalid {CHANNEL} name "{name}". non-alphanumerics or upper cased names are not supported')


def _number(version: str | None) -> int:
    try:
        return int(version or "")
    except ValueError:
        return -1


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()


def _texts(value: Any) -> dict[str, str]:
    """The metadata column: JSON as text or as read."""
    try:
        found = orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        return {}
    return {str(key): _text(each) for key, each in found.items()} if isinstance(found, dict) else {}


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
