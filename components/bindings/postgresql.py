"""`bindings.postgresql`: statements on a PostgreSQL database by operations `exec`, `query` and `close`.

Source: components-contrib bindings/postgres @1.18.4, and what its driver makes of Go's values; differs: a start without the server is a
start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar
from uuid import UUID

import orjson

from components._postgresql import Pool, PostgresFields
from components.bindings._sql import OPERATIONS, Answer, known, statement
from edge import gojson
from edge.component import Context, Feature
from edge.errors import Closed, ComponentError, Invalid, Unavailable
from edge.model import BindingResult
from edge.record import record

INTEGERS = frozenset(("int2", "int4", "int8", "oid"))
FLOATS = frozenset(("float4", "float8"))
TEXTS = frozenset(("text", "varchar", "bpchar", "name", "char", "citext"))


@record
class Fields(PostgresFields):
    """Metadata of the component."""


class Binding:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.OUTPUT_BINDING})
    operations: ClassVar[tuple[str, ...]] = OPERATIONS
    journal_out: ClassVar[bool] = False

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._pool = Pool(metadata, context, _nothing)
        self._closed = False

    async def open(self) -> None:
        """Raises ComponentError (address, refused login); a server that is away is none."""
        await self._pool.open()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._pool.close()

    def unhealthy(self) -> str | None:
        return self._pool.server.unhealthy()

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> BindingResult | None:
        """metadata: `sql`, `params` (JSON array). A query answers an array of rows, each an array. Raises Invalid, Unavailable, Closed."""
        if operation == "close":
            await self.close()
            return None
        if self._closed:
            raise Closed("component is closed")
        known(operation)
        sql, params = statement(metadata)
        answer = Answer(operation, sql)
        try:
            async with asyncio.timeout(self.metadata.timeout):
                rows, status = await self._pool.run(lambda connection: _run(connection, sql, params))
        except TimeoutError:
            raise Unavailable("error executing query: timeout: context deadline exceeded") from None
        except (Unavailable, Closed):
            raise
        except ComponentError as error:
            text = str(error)
            raise type(error)(text if text.startswith("error executing query") else f"error executing query: {text}") from error
        if operation == "exec":
            count = status.rpartition(" ")[2]
            return BindingResult(b"", answer.metadata(int(count) if count.isdigit() else 0))
        return BindingResult(gojson.encode(rows), answer.metadata())


async def _nothing(connection: Any) -> None:
    """The database is used as it is."""


async def _run(connection: Any, sql: str, params: list[Any]) -> tuple[list[list[Any]], str]:
    if not params:
        prepared = await connection.prepare(sql)
        rows = await prepared.fetch()
    else:
        prepared = await connection.prepare(sql)
        types = [one.name for one in prepared.get_parameters()]
        if len(types) != len(params):
            raise Invalid(f"error executing query: expected {len(types)} arguments, got {len(params)}")
        try:
            values = [_bound(name, value) for name, value in zip(types, params, strict=True)]
        except (ValueError, InvalidOperation) as error:
            raise Invalid(f"error executing query: failed to encode args: {error}") from error
        rows = await prepared.fetch(*values)
    kinds = [attribute.type.name for attribute in prepared.get_attributes()]
    return [[_plain(kind, value) for kind, value in zip(kinds, row.values(), strict=True)] for row in rows], prepared.get_statusmsg()


def _bound(kind: str, value: Any) -> Any:
    """A JSON value as asyncpg wants it for that type; Go's driver sends texts as they are and lets the server read them."""
    if value is None:
        return None
    if kind in INTEGERS:
        return int(value)
    if kind in FLOATS:
        return float(value)
    if kind == "numeric":
        return Decimal(str(value))
    if kind in TEXTS:
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    if kind in ("json", "jsonb"):
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    if isinstance(value, str):
        match kind:
            case "timestamptz":
                moment = datetime.fromisoformat(value)
                return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            case "timestamp":
                return datetime.fromisoformat(value).replace(tzinfo=None)
            case "date":
                return date.fromisoformat(value)
            case "time":
                return time.fromisoformat(value)
            case "bytea":
                return bytes.fromhex(value[2:]) if value.startswith("\\x") else value.encode()
            case "bool":
                return value.lower() in ("t", "true", "y", "yes", "on", "1")
    return value


def _plain(kind: str, value: Any) -> Any:
    """A value as Go's driver and its JSON encoder write it."""
    match value:
        case datetime():
            return _rfc3339(value)
        case date():
            return f"{value.isoformat()}T00:00:00Z"
        case UUID():
            return list(value.bytes)
        case Decimal():
            return int(value) if value == value.to_integral_value() and abs(value) < 1 << 53 else float(value)
        case bytes():
            import base64

            return base64.b64encode(value).decode()
        case timedelta():
            micros = value // timedelta(microseconds=1)
            days, rest = divmod(micros, 86_400_000_000)
            return {"Microseconds": rest, "Days": days, "Months": 0, "Valid": True}
        case list() | tuple():
            return [_plain("", item) for item in value]
        case str() if kind in ("json", "jsonb"):
            return orjson.loads(value)
        case None | bool() | int() | float() | str():
            return value
    return str(value)


def _rfc3339(moment: datetime) -> str:
    text = moment.replace(tzinfo=None).isoformat(timespec="microseconds").rstrip("0").rstrip(".")
    if moment.tzinfo is None or not (offset := moment.utcoffset()):
        return f"{text}Z"
    minutes = int(offset.total_seconds() // 60)
    return f"{text}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
