"""`state.redis`: values in a Redis server, in daprd's layout, so that a store written by one is read by the other.

Etags are integers that count the writes of a key. A transaction is one script: all or nothing (daprd's is not rolled back); in a
cluster, whose scripts reach one node only, each operation is for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from components._redis import Client, RedisFields
from components.state._redis_keys import glob_of
from components.state._redis_query import Indexes
from components.state._redis_scripts import DELETE_REFUSED, OPERATIONS, READ, SET_REFUSED
from edge.component import Ask, Context, Feature
from edge.errors import ComponentError, EtagInvalid, EtagMismatch, Invalid
from edge.gointeger import parse_int
from edge.model import BulkItem, DeleteItem, QueryResult, SetItem, StateItem
from edge.record import record
from edge.spec import meta

JSON = "application/json"
ESCAPE = re.compile(rb"(?<!\\)((?:\\\\)*)\\u(003c|003e|0026|2028|2029)")
LETTERS = {b"003c": b"<", b"003e": b">", b"0026": b"&", b"2028": b"\xe2\x80\xa8", b"2029": b"\xe2\x80\xa9"}
SCAN_COUNT, AT_ONCE = 1000, 1000
OTHER = object()
WAIT_MS = 1000


@record
class Fields(RedisFields):
    """Fields of the component."""

    ttl_in_seconds: int | None = meta(None, doc="Lifetime of values whose request gives none.")
    query_indexes: str = meta("", doc="JSON list of the indexes of the query API: name, and indexes of key and type (TEXT, NUMERIC).")


class Store:
    """One database of one server."""

    Metadata: ClassVar[type] = Fields
    features: frozenset[Feature] = frozenset((Feature.ETAG, Feature.TRANSACTIONAL, Feature.TTL, Feature.KEYS_LIKE, Feature.ACTOR))
    max_operations: ClassVar[int] = 0
    unchecked: ClassVar[frozenset[Ask]] = frozenset((Ask.SET_IN_TRANSACTION, Ask.DELETE_IN_TRANSACTION))

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._indexes = Indexes.parse(metadata.query_indexes)
        self._client = Client(metadata, context, self._prepare)
        self._scripts: dict[str, Any] = {}

    async def open(self) -> None:
        """Raises ComponentError; a server that is away is none."""
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    def unhealthy(self) -> str | None:
        return self._client.server.unhealthy()

    async def _prepare(self) -> None:
        if self._has_json:
            self.features = Store.features | {Feature.QUERY_API}
        if self._indexes.names:
            await self._indexes.create(self._client.redis)

    @property
    def _has_json(self) -> bool:
        return "rejson" in self._client.modules

    # --- reads
    async def get(self, key: str) -> StateItem | None:
        """Raises Unavailable, ComponentError."""
        redis = self._client.redis
        return _item(key, await self._client.run(lambda: self._read(redis, key)))

    async def _read(self, redis: Any, key: str) -> Any:
        from redis.exceptions import ResponseError  # loaded by open()

        try:
            return await redis.hgetall(key)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
        return await self._read_other(redis, key)

    async def _read_other(self, redis: Any, key: str) -> Any:
        """A JSON document, or the plain text of a key that some other program wrote."""
        if self._has_json and await redis.type(key) == b"ReJSON-RL":
            return await redis.execute_command("JSON.GET", key)
        return await redis.get(key)

    async def get_many(self, keys: Sequence[str]) -> list[BulkItem]:
        """In the order asked, a thousand keys by one round trip."""
        items: list[BulkItem] = []
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            found = await self._client.run(partial(self._read_many, some))
            items += [await self._bulk(key, value) for key, value in zip(some, found, strict=True)]
        return items

    async def _read_many(self, keys: Sequence[str]) -> list[Any]:
        """What `_item` takes, for each key; one that needs a look of its own is OTHER."""
        if self._client.cluster:
            pipeline = self._client.redis.pipeline(transaction=False)
            for key in keys:
                pipeline.hgetall(key)
            found = await pipeline.execute(raise_on_error=False)
            return [OTHER if isinstance(each, Exception) else each for each in found]
        pairs = iter(await self._registered(READ)(keys))
        return [_fields(data, version) for data, version in zip(pairs, pairs, strict=True)]

    async def _bulk(self, key: str, found: Any) -> BulkItem:
        try:
            item = await self.get(key) if found is OTHER else _item(key, found)
        except ComponentError as error:
            return BulkItem(key, error=str(error))
        return BulkItem(key) if item is None else BulkItem(key, item.data, item.etag)

    async def keys_like(self, pattern: str, limit: int, token: str) -> tuple[list[str], str]:
        """Keys that match an SQL LIKE pattern, sorted; the token is an offset."""
        glob = glob_of(pattern)

        async def scan() -> list[str]:
            return sorted([key.decode(errors="replace") async for key in self._client.redis.scan_iter(match=glob, count=SCAN_COUNT)])

        keys = await self._client.run(scan)
        start = int(token) if token.isdigit() else 0
        end = start + limit if limit > 0 else len(keys)
        return keys[start:end], str(end) if end < len(keys) else ""

    # --- writes
    async def set(self, item: SetItem) -> None:
        """Raises EtagMismatch, EtagInvalid, Invalid (ttl), Unavailable."""
        if await self._write([(item.key, self._set_arguments(item))], item.consistency):
            raise self._refused(item)

    async def delete(self, item: DeleteItem) -> None:
        """A missing key is deleted already. Raises EtagMismatch."""
        if await self._write([(item.key, self._delete_arguments(item))], item.consistency):
            raise self._refused(item)

    async def set_many(self, items: Sequence[SetItem]) -> list[ComponentError | None]:
        """By one round trip; each item fails alone."""
        results: list[ComponentError | None] = [None] * len(items)
        work = []
        for index, item in enumerate(items):
            try:
                work.append((index, item.key, self._set_arguments(item)))
            except ComponentError as error:
                results[index] = error
        if work:
            answers = await self._client.run(lambda: self._write_each([(key, arguments) for _, key, arguments in work]))
            for (index, _, _), answer in zip(work, answers, strict=True):
                if isinstance(answer, Exception):
                    results[index] = ComponentError(f"failed to set key {items[index].key}: {answer}")
                elif answer:
                    results[index] = self._refused(items[index])
        return results

    async def transact(self, operations: Sequence[SetItem | DeleteItem], metadata: Mapping[str, str]) -> None:
        """All or nothing, in order (in a cluster: in order). Raises ComponentError."""
        json = (metadata or {}).get("contentType") == JSON
        work = [
            (op.key, self._set_arguments(op, json) if isinstance(op, SetItem) else self._delete_arguments(op, json)) for op in operations
        ]
        for part in [[one] for one in work] if self._client.cluster else [work] if work else []:
            if refused := await self._write(part):
                op = operations[refused - 1] if len(part) > 1 else operations[work.index(part[0])]
                raise ComponentError((SET_REFUSED if isinstance(op, SetItem) else DELETE_REFUSED).format(key=op.key))

    async def _write(self, work: Sequence[tuple[str, tuple[Any, ...]]], consistency: str = "") -> int:
        """0, or the number of the operation that was refused."""
        keys = [key for key, _ in work]
        arguments = [argument for _, some in work for argument in some]
        wait = consistency == "strong" and self._client.replicas > 0

        async def run() -> int:
            refused: int = await self._operations(keys, arguments)
            if wait and not refused:
                await self._client.redis.wait(self._client.replicas, WAIT_MS)
            return refused

        return await self._client.run(run)

    async def _write_each(self, work: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        pipeline = self._client.redis.pipeline(transaction=False)
        if self._client.cluster:
            for key, arguments in work:
                pipeline.eval(OPERATIONS, 1, key, *arguments)
        else:
            for key, arguments in work:
                await self._registered()([key], arguments, client=pipeline)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    async def _operations(self, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        return await self._registered()(keys, arguments)

    def _registered(self, text: str = OPERATIONS) -> Any:
        if text not in self._scripts:
            self._scripts[text] = self._client.redis.register_script(text)
        return self._scripts[text]

    def _set_arguments(self, item: SetItem, json: bool = False) -> tuple[Any, ...]:
        """Raises EtagInvalid, Invalid."""
        etag, ttl = _etag(item), self._ttl(item.metadata)
        json = self._has_json and (json or (item.metadata or {}).get("contentType") == JSON)
        value = _unescaped(item.value) if item.is_json else item.value
        data = value if not json else b'{"data":' + (value or b"null") + b"}"
        return "set", "json" if json else "plain", etag, data, "0" if item.concurrency == "first-write" else "1", ttl

    def _delete_arguments(self, item: DeleteItem, json: bool = False) -> tuple[Any, ...]:
        json = self._has_json and (json or (item.metadata or {}).get("contentType") == JSON)
        return "delete", "json" if json else "plain", item.etag or "0", "", "1", ""

    def _ttl(self, metadata: Mapping[str, str]) -> str:
        text = (metadata or {}).get("ttlInSeconds", "")
        if not text:
            return "" if self.metadata.ttl_in_seconds is None else str(self.metadata.ttl_in_seconds)
        try:
            return str(parse_int(text))
        except ValueError as error:
            raise Invalid(f"failed to parse ttl from metadata: {error}") from None

    @staticmethod
    def _refused(item: SetItem | DeleteItem) -> ComponentError:
        if isinstance(item, DeleteItem):
            return EtagMismatch(DELETE_REFUSED.format(key=item.key))
        text = SET_REFUSED.format(key=item.key)
        return EtagMismatch(text) if item.etag else ComponentError(f"failed to set key {item.key}: {text}")

    # --- queries
    async def query(self, query: Mapping[str, Any], metadata: Mapping[str, str]) -> QueryResult:
        """Needs RedisJSON and RediSearch. Raises Invalid, ComponentError."""
        if not self._has_json:
            raise Invalid("redis-json server support is required for query capability")
        return await self._client.run(lambda: self._indexes.search(self._client.redis, query, metadata))


def _etag(item: SetItem) -> str:
    if item.concurrency == "last-write" or not item.etag:
        return "0"
    try:
        return str(parse_int(item.etag, "Atoi"))
    except ValueError as error:
        raise EtagInvalid(str(error)) from None


def _unescaped(text: bytes) -> bytes:
    """JSON as daprd writes it to Redis: without the escapes for HTML."""
    return ESCAPE.sub(lambda found: found[1] + LETTERS[found[2]], text) if b"\\u" in text else text


def _fields(data: Any, version: Any) -> Any:
    """A hash as HGETALL gives it."""
    if data == 1:
        return OTHER
    return {} if data is None else {b"data": data} | ({} if version is None else {b"version": version})


def _item(key: str, found: Any) -> StateItem | None:
    """From what was read: a hash's fields, a JSON document's text, or a plain text."""
    if not found:
        return None if found in ({}, None) else StateItem(key, found)
    if isinstance(found, dict):
        if b"data" not in found or b"version" not in found:
            raise ComponentError("required hash field 'data' or 'version' was not found")
        return StateItem(key, found[b"data"], found[b"version"].decode())
    return _document(key, found)


def _document(key: str, found: bytes) -> StateItem:
    import orjson  # a JSON document is rare

    try:
        document = orjson.loads(found)
    except orjson.JSONDecodeError:
        return StateItem(key, found)
    if not isinstance(document, dict) or "data" not in document or "version" not in document:
        return StateItem(key, found)
    return StateItem(key, orjson.dumps(document["data"]), str(document["version"]))
