"""The query API over a state.sqlite table: JSON functions of SQLite, numbers compared as numbers. Off unless `queryApi` says so, since
daprd's state.sqlite has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.state import _filters
from edge.errors import Invalid

DOCUMENT = "CASE WHEN is_binary THEN NULL ELSE value END"
TYPES = {str: "'text'", int: "'integer', 'real'", float: "'integer', 'real'", type(None): "'null'"}


class Json:
    """Comparisons of members; a member that is not there equals nothing."""

    def __init__(self) -> None:
        self.parameters: list[Any] = []

    def compare(self, path: Sequence[str], sign: str, value: Any) -> str:
        if sign == "<>":
            return f"(json_type({DOCUMENT}, {self._path(path)}) IS NOT NULL AND NOT {self.compare(path, '=', value)})"
        if isinstance(value, bool) or value is None:
            kind = "null" if value is None else "true" if value else "false"
            return f"coalesce(json_type({DOCUMENT}, {self._path(path)}) {sign} '{kind}', 0)"
        if type(value) not in TYPES:
            raise Invalid(f"unsupported type of value {value}; it is a text, a number, true, false or null")
        typed = f"coalesce(json_type({DOCUMENT}, {self._path(path)}) IN ({TYPES[type(value)]}), 0)"
        return f"({typed} AND json_extract({DOCUMENT}, {self._path(path)}) {sign} {self._parameter(value)})"

    def order(self, path: Sequence[str], direction: str) -> str:
        return f"json_extract({DOCUMENT}, {self._path(path)}) {direction}"

    def _path(self, path: Sequence[str]) -> str:
        if any('"' in name for name in path):
            raise Invalid('a path of a query can have no "')
        return self._parameter("$" + "".join(f'."{name}"' for name in path))

    def _parameter(self, value: Any) -> str:
        self.parameters.append(value)
        return f"?{len(self.parameters)}"


def statement(query: Mapping[str, Any], table: str, live: str) -> tuple[str, list[Any], _filters.Page]:
    """SQL that gives key, value, is_binary and etag; its parameters; the page it is for. Raises Invalid."""
    dialect, page = Json(), _filters.page_of(query)
    condition = _filters.where(query.get("filter"), dialect)
    order = _filters.order_by(query.get("sort"), dialect, "key")
    sql = f"SELECT key, value, is_binary, etag FROM {table} WHERE {live}" + (f" AND {condition}" if condition else "") + order
    return f"{sql} LIMIT {page.limit or -1} OFFSET {page.offset}", dialect.parameters, page
