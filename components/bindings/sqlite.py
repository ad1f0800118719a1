"""`bindings.sqlite` (not in daprd): statements on an SQLite file, with the operations and answers of `bindings.postgresql`.

Each `exec` is a transaction of its own and on disk when it returns. Other files cannot be attached.
"""

from __future__ import annotations

import asyncio
import base64
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from components.bindings._sql import OPERATIONS, Answer, known, statement
from edge.component import Context, Feature
from edge.errors import Closed, ComponentError, Full, Invalid, Unavailable
from edge.model import BindingResult
from edge.record import record
from edge.spec import Duration, meta

if TYPE_CHECKING:
    import aiosqlite

DENIED = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH})
MOST_ROWS = 100_000


@record
class Fields:
    """Metadata of the component."""

    connection_string: str = meta(doc="Path of the file, created when missing, or a `file:` URI.", aliases=("url",), example="data.db")
    timeout: Duration = meta(Duration(20), doc="Longest time of a statement.", aliases=("timeoutInSeconds",), least=1)
    busy_timeout: Duration = meta(Duration(2), doc="Longest wait for another process that has locked the file.", least=0)
    disable_wal: bool = meta(False, name="disableWAL", doc="Use a rollback journal, for file systems on which WAL does not work.")
    read_only: bool = meta(False, doc="Open the file for queries only; it must exist.")


class Binding:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.OUTPUT_BINDING})
    operations: ClassVar[tuple[str, ...]] = OPERATIONS
    journal_out: ClassVar[bool] = False

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._name, self._base = context.name, context.working_dir or Path.cwd()
        self._connection: aiosqlite.Connection | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Raises Unavailable when the file cannot be opened."""
        import aiosqlite  # a thread, only for those who configured this

        fields, target = self.metadata, self.metadata.connection_string
        if not target.startswith("file:") and target != ":memory:":
            target = f"file:{_quoted(str(self._base / target))}?mode={'ro' if fields.read_only else 'rwc'}"
        try:
            connection = await aiosqlite.connect(target, uri=True, isolation_level=None, timeout=fields.busy_timeout)
            await connection.set_authorizer(_authorize)
            if not fields.read_only:
                await connection.execute(f"PRAGMA journal_mode={'DELETE' if fields.disable_wal else 'WAL'}")
                await connection.execute("PRAGMA synchronous=FULL")
            await connection.execute("PRAGMA foreign_keys=ON")
        except sqlite3.Error as error:
            raise Unavailable(f"cannot open {fields.connection_string}: {error}") from error
        self._connection = connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> BindingResult | None:
        """`exec` and `query` with metadata `sql` and `params` (JSON array). A query answers an array of rows, each an array of values,
        or an object with metadata `rows` = `objects`; blobs are base64. Raises Invalid, Unavailable, Full, Closed.
        """
        if operation == "close":
            await self.close()
            return None
        if self._connection is None:
            raise Closed("component is closed")
        known(operation)
        sql, params = statement(metadata)
        answer = Answer(operation, sql)
        async with self._turn:
            rows, affected = await self._run(sql, [_bound(value) for value in params], operation, metadata)
        if operation == "exec":
            return BindingResult(b"", answer.metadata(affected))
        return BindingResult(orjson.dumps(rows, default=_plain), answer.metadata())

    async def _run(self, sql: str, params: list[Any], operation: str, metadata: Mapping[str, str]) -> tuple[list[Any], int]:
        connection = self._connection
        if connection is None:
            raise Closed("component is closed")
        try:
            async with asyncio.timeout(self.metadata.timeout):
                async with connection.execute(sql, params) as cursor:
                    found = [] if operation == "exec" else list(await cursor.fetchmany(MOST_ROWS + 1))
                    names = [column[0] for column in cursor.description or ()]
                    affected = max(cursor.rowcount, 0)
        except TimeoutError:
            await connection.interrupt()
            raise Unavailable("error executing query: context deadline exceeded") from None
        except sqlite3.Error as error:
            raise _translated(error) from error
        if len(found) > MOST_ROWS:
            raise Invalid(f"error executing query: it has more than {MOST_ROWS} rows; use LIMIT")
        if metadata.get("rows", "") == "objects":
            return [dict(zip(names, row, strict=True)) for row in found], affected
        return found, affected


def _authorize(action: int, *_: object) -> int:
    return sqlite3.SQLITE_DENY if action in DENIED else sqlite3.SQLITE_OK


def _bound(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, list | dict) else value


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _translated(error: sqlite3.Error) -> ComponentError:
    text = f"error executing query: {error}"
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return Full(text)
    return Unavailable(text) if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) else Invalid(text)
