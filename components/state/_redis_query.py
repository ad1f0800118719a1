"""The query API of state.redis: RediSearch over RedisJSON, by the indexes of the component's `queryIndexes`.

Source: components-contrib state/redis/redis_query.go @1.18.4; differs: a top-level NEQ is a negation, as inside AND and OR.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from components.state._filters import ORDERS, page_of, plain
from edge.errors import ComponentError, Invalid
from edge.model import BulkItem, QueryResult
from edge.record import record

BAD = "redis store: error parsing query index schema: "
FEWEST = 2
RANGES = {"GT": "[({0} +inf]", "GTE": "[{0} +inf]", "LT": "[-inf ({0}]", "LTE": "[-inf {0}]"}


@record
class Indexes:
    """names: index → path of a member → its alias. schemas: index → (path, alias, type) each."""

    names: Mapping[str, Mapping[str, str]]
    schemas: Mapping[str, Sequence[tuple[str, str, str]]]

    @classmethod
    def parse(cls, text: str) -> Indexes:
        """The field `queryIndexes`. Raises Invalid."""
        try:
            found = orjson.loads(text) if text else []
            pairs = [(str(one["name"]), [(str(each["key"]), str(each["type"])) for each in one.get("indexes", ())]) for one in found]
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise Invalid(f"{BAD}it is no list of objects with name and indexes (key, type): {error}") from None
        if len({name for name, _ in pairs}) < len(pairs) or any(not name for name, _ in pairs):
            raise Invalid(f"{BAD}each index needs a name of its own")
        names = {name: {key: f"var{number}" for number, (key, _) in enumerate(fields)} for name, fields in pairs}
        schemas = {name: [(key, f"var{number}", kind) for number, (key, kind) in enumerate(fields)] for name, fields in pairs}
        return cls(names, schemas)

    async def create(self, redis: Any) -> None:
        """Make the indexes; one of before is replaced."""
        from redis.exceptions import ResponseError  # loaded with the client

        for name, fields in self.schemas.items():
            words = [word for key, alias, kind in fields for word in (f"$.data.{key}", "AS", alias, kind, "SORTABLE")]
            command = ("FT.CREATE", name, "ON", "JSON", "SCHEMA", *words)
            try:
                await redis.execute_command(*command)
            except ResponseError as error:
                if "already exists" not in str(error):
                    raise
                await redis.execute_command("FT.DROPINDEX", name)
                await redis.execute_command(*command)

    async def search(self, redis: Any, query: Mapping[str, Any], metadata: Mapping[str, str]) -> QueryResult:
        """Raises Invalid (index, path, filter)."""
        name = next((value for key, value in (metadata or {}).items() if key.lower() == "queryindexname"), None)
        if name is None:
            raise Invalid("query index not found")
        if name not in self.names:
            raise Invalid(f'query index schema "{name}" not found')
        aliases, page = self.names[name], page_of(query)
        words = [_filter(query["filter"], aliases) if query.get("filter") else "*", *_sorting(query.get("sort"), aliases)]
        if page.limit:
            words += ["LIMIT", str(page.offset), str(page.limit)]
        found = await redis.execute_command("FT.SEARCH", name, *words, "RETURN", "2", "$.data", "$.version")
        items = list(_items(found))
        return QueryResult(items, page.token(len(items)))


def _alias(path: str, aliases: Mapping[str, str]) -> str:
    if path not in aliases:
        raise Invalid(f'JSON path "{path}" is not indexed')
    return aliases[path]


def _filter(unit: Mapping[str, Any], aliases: Mapping[str, str]) -> str:
    [(name, body)] = unit.items()
    if name in ("AND", "OR"):
        return "(" + (" " if name == "AND" else "|").join(_filter(each, aliases) for each in body) + ")"
    [(path, value)] = body.items()
    alias, value = _alias(path, aliases), plain(value)
    match name:
        case "EQ":
            return f"({_equal(alias, value)})"
        case "NEQ":
            return f"-({_equal(alias, value)})"
        case "IN":
            if len(value) < FEWEST:
                raise Invalid(f'too few values in IN operator for key "{path}"')
            return "(" + "|".join(f"({_equal(alias, each)})" for each in value) + ")"
    if isinstance(value, str):
        raise Invalid(f"unsupported type of value {value}; string type not permitted")
    return f"(@{alias}:{RANGES[name].format(_number(value))})"


def _equal(alias: str, value: Any) -> str:
    return f"@{alias}:({_text(value)})" if isinstance(value, str) else f"@{alias}:[{_number(value)} {_number(value)}]"


def _text(value: str) -> str:
    """Words, with what the query language would take for its own escaped."""
    return "".join(letter if letter.isalnum() or letter in " _" else f"\\{letter}" for letter in value)


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid(f"unsupported type of value {value}; it is a text or a number")
    return repr(value)


def _sorting(sort: Sequence[Mapping[str, str]] | None, aliases: Mapping[str, str]) -> list[str]:
    if not sort:
        return []
    if len(sort) > 1:
        raise Invalid("multiple SORTBY steps are not allowed. Sort multiple fields in a single step")
    direction = (sort[0].get("order") or "").upper()
    if direction not in ORDERS:
        raise Invalid(f"unsupported sort order {direction}; it is ASC or DESC")
    return ["SORTBY", _alias(sort[0].get("key", ""), aliases), *(["DESC"] if direction == "DESC" else [])]


def _items(found: Any) -> Any:
    """From either of the two shapes that the module answers in."""
    if isinstance(found, dict):
        for one in found.get("results") or found.get(b"results") or ():
            fields = one.get("extra_attributes", one.get(b"extra_attributes", {}))
            yield _item(one.get("id", one.get(b"id")), {_decoded(key): value for key, value in fields.items()})
        return
    if not isinstance(found, list) or len(found) % 2 != 1:
        raise ComponentError("invalid output")
    for key, pairs in zip(found[1::2], found[2::2], strict=True):
        yield _item(key, {_decoded(name): value for name, value in zip(pairs[::2], pairs[1::2], strict=True)})


def _item(key: Any, fields: Mapping[str, Any]) -> BulkItem:
    data = fields.get("$.data")
    if data is None:
        return BulkItem(_decoded(key), error="the document has no data")
    return BulkItem(_decoded(key), data.encode() if isinstance(data, str) else data, _decoded(fields.get("$.version", b"")) or None)


def _decoded(text: Any) -> str:
    return text.decode() if isinstance(text, bytes) else str(text)
