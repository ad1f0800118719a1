"""`state.in-memory`: values in this process, lost when it ends. The double for tests, and a cache for those who want one."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from edge.component import Ask, Context, Feature
from edge.errors import EtagMismatch, Invalid
from edge.events import new_id
from edge.gointeger import parse_int
from edge.model import NO_METADATA, BulkItem, DeleteItem, SetItem, StateItem

SWEEP = 1.0
LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
"""The last moment that an expiry time can show."""


@dataclass(frozen=True, slots=True)
class Fields:
    """No fields."""


@dataclass(slots=True)
class _Row:
    value: bytes
    etag: str
    expires: float | None


class Store:
    """A dictionary with Dapr's rules."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset(
        (Feature.ETAG, Feature.TRANSACTIONAL, Feature.TTL, Feature.DELETE_WITH_PREFIX, Feature.KEYS_LIKE, Feature.ACTOR)
    )
    max_operations: ClassVar[int] = 0
    unchecked: ClassVar[frozenset[Ask]] = frozenset((Ask.DELETE_IN_TRANSACTION,))

    def __init__(self, metadata: Fields, context: Context) -> None:
        self._rows: dict[str, _Row] = {}
        self._context = context
        self._sweeping = False

    async def open(self) -> None:
        """Ready at once; the sweeper starts with the first value that expires."""

    async def close(self) -> None:
        self._rows.clear()

    def _live(self, key: str) -> _Row | None:
        row = self._rows.get(key)
        return None if row is None or (row.expires is not None and row.expires <= time.time()) else row

    def get_now(self, key: str) -> StateItem | None:
        row = self._live(key)
        return None if row is None else StateItem(key, row.value, row.etag, _expiry(row))

    async def get(self, key: str) -> StateItem | None:
        return self.get_now(key)

    async def get_many(self, keys: Sequence[str]) -> list[BulkItem]:
        """In the order asked."""
        rows = [(key, self._live(key)) for key in keys]
        return [BulkItem(key) if row is None else BulkItem(key, row.value, row.etag, _expiry(row)) for key, row in rows]

    async def set(self, item: SetItem) -> None:
        """Raises EtagMismatch, Invalid (ttl)."""
        expires = _expires(item.metadata)
        self._check(item)
        self._put(item, expires)

    async def delete(self, item: DeleteItem) -> None:
        """Raises EtagMismatch."""
        self._check(item)
        self._rows.pop(item.key, None)

    async def transact(self, operations: Sequence[SetItem | DeleteItem], metadata: Mapping[str, str]) -> None:
        """All or nothing, in order."""
        expiries = [_expires(op.metadata) if isinstance(op, SetItem) else None for op in operations]
        for op in operations:
            self._check(op)
        for op, expires in zip(operations, expiries, strict=True):
            if isinstance(op, SetItem):
                self._put(op, expires)
            else:
                self._rows.pop(op.key, None)

    async def keys_like(self, pattern: str, limit: int, token: str) -> tuple[list[str], str]:
        """Keys that match an SQL LIKE pattern, sorted; the token is the last key."""
        match = _like(pattern)
        keys = [key for key in sorted(self._rows) if key > token and self._live(key) is not None and match.fullmatch(key)]
        return keys[:limit], keys[limit - 1] if len(keys) > limit else ""

    async def delete_with_prefix(self, prefix: str) -> int:
        """Remove all keys that begin so; how many."""
        gone = [key for key in self._rows if key.startswith(prefix)]
        for key in gone:
            del self._rows[key]
        return len(gone)

    def _check(self, item: SetItem | DeleteItem) -> None:
        row = self._live(item.key)
        if item.etag:
            if row is None or row.etag != item.etag:
                current = row.etag if row is not None else ""
                text = f"state etag not match for key={item.key}: current={current}, expect={item.etag}"
                raise EtagMismatch(text if row is not None else f"state not exist or expired for key={item.key}")
        elif item.concurrency == "first-write" and row is not None:
            raise EtagMismatch("item already exists and no etag was passed")

    def _put(self, item: SetItem, expires: float | None) -> None:
        self._rows[item.key] = _Row(item.value, new_id(), expires)
        if expires is not None and not self._sweeping:
            self._sweeping = True
            self._context.tasks.spawn(f"sweep[{self._context.name}]", self._sweep)

    async def _sweep(self) -> None:
        """Once a second while values that expire are there."""
        while any(row.expires is not None for row in self._rows.values()):
            await asyncio.sleep(SWEEP)
            now = time.time()
            for key in [key for key, row in self._rows.items() if row.expires is not None and row.expires <= now]:
                del self._rows[key]
        self._sweeping = False


def _expires(metadata: Mapping[str, str]) -> float | None:
    text = metadata.get("ttlInSeconds", "") if metadata else ""
    if not text:
        return None
    try:
        seconds = parse_int(text, "Atoi")
    except ValueError as error:
        raise Invalid(str(error)) from None
    return min(time.time() + seconds, LATEST) if seconds > 0 else None


def _expiry(row: _Row) -> Mapping[str, str]:
    if row.expires is None:
        return NO_METADATA
    moment = datetime.fromtimestamp(row.expires, UTC).replace(microsecond=0)
    return {"ttlExpireTime": moment.isoformat().replace("+00:00", "Z")}


def _like(pattern: str) -> re.Pattern[str]:
    """An SQL LIKE pattern (escape: backslash) as a regular expression."""
    parts, letters = [], iter(pattern)
    for letter in letters:
        if letter == "\\":
            parts.append(re.escape(next(letters, "\\")))
        else:
            parts.append({"%": ".*", "_": "."}.get(letter) or re.escape(letter))
    return re.compile("".join(parts), re.DOTALL)
