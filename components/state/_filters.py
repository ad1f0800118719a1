"""A query's filter as SQL: one walk over the tree, the comparisons in the store's dialect, values and paths always as parameters.

Source: components-contrib state/query @1.18.4 (shape, texts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from edge.errors import Invalid
from edge.gointeger import parse_int
from edge.record import record

SIGNS = {"EQ": "=", "NEQ": "<>", "GT": ">", "GTE": ">=", "LT": "<", "LTE": "<="}
ORDERS = ("", "ASC", "DESC")


class Dialect(Protocol):
    """What differs between databases. path: of a member, by its names."""

    def compare(self, path: Sequence[str], sign: str, value: Any) -> str: ...
    def order(self, path: Sequence[str], direction: str) -> str: ...


@record
class Page:
    """limit 0 = all; offset: rows before the page."""

    limit: int
    offset: int

    def token(self, rows: int) -> str:
        """For the next page, "" where no limit was asked."""
        return str(self.offset + rows) if self.limit > 0 and rows else ""


def where(filter_: Mapping[str, Any] | None, dialect: Dialect) -> str:
    """The condition, "" for no filter. Raises Invalid."""
    return _unit(filter_, dialect) if filter_ else ""


def _unit(unit: Mapping[str, Any], dialect: Dialect) -> str:
    [(name, body)] = unit.items()
    if name in ("AND", "OR"):
        return "(" + f" {name} ".join(_unit(each, dialect) for each in body) + ")"
    [(key, value)] = body.items()
    path, value = key.split("."), plain(value)
    if name == "IN":
        if not value:
            raise Invalid(f'empty IN operator for key "{key}"')
        return "(" + " OR ".join(dialect.compare(path, "=", each) for each in value) + ")"
    if name not in ("EQ", "NEQ") and isinstance(value, str):
        raise Invalid(f"unsupported type of value {value}; string type not permitted")
    return dialect.compare(path, SIGNS[name], value)


def plain(value: Any) -> Any:
    """The value without the number texts that the parser keeps."""
    return orjson.loads(orjson.dumps(value))


def order_by(sort: Sequence[Mapping[str, str]] | None, dialect: Dialect, last: str) -> str:
    """`ORDER BY …`; `last` makes it a total order, so that pages neither repeat nor miss a row. Raises Invalid."""
    parts = []
    for each in sort or ():
        direction = (each.get("order") or "").upper()
        if direction not in ORDERS:
            raise Invalid(f"unsupported sort order {each['order']}; it is ASC or DESC")
        parts.append(dialect.order(each.get("key", "").split("."), direction))
    return " ORDER BY " + ", ".join([*parts, last])


def page_of(query: Mapping[str, Any]) -> Page:
    """Raises Invalid for a token that is no number."""
    page = query.get("page") or {}
    token = page.get("token") or "0"
    try:
        offset = parse_int(token)
    except ValueError as error:
        raise Invalid(str(error)) from None
    if offset < 0:
        raise Invalid("OFFSET must not be negative")
    return Page(max(int(page.get("limit") or 0), 0), offset)
