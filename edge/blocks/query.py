"""The alpha query language of the state API: JSON text to a checked mapping (components.md §5.6).

Source: components-contrib state/query @1.18.4 (shape and texts).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge import gojson, gostruct
from edge.errors import Invalid
from edge.gofloat import decode_marked
from edge.gointeger import quote
from edge.goscanner import JsonError
from edge.gostruct import Struct, list_of

COMPARISONS = frozenset(("EQ", "NEQ", "GT", "GTE", "LT", "LTE", "IN"))
FEWEST = 2


def _map(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise gostruct.wrong(value, gojson.MAP, place)
    found: dict[str, Any] = gostruct.anything(value, place)
    return found


SORTING = Struct("query.Sorting", {"key": gostruct.text, "order": gostruct.text})
PAGE = Struct("query.Pagination", {"limit": gostruct.integer, "token": gostruct.text})
QUERY = Struct("query.QueryFields", {"filter": _map, "sort": list_of(SORTING, SORTING.type_), "page": PAGE})


def parse(text: bytes) -> Mapping[str, Any]:
    """`{"filter"?, "sort"?, "page"?}` with a filter whose shape is right. Raises Invalid."""
    try:
        query = QUERY(gojson.parse(text))
        QUERY(decode_marked(text))
    except JsonError as error:
        raise Invalid(f"failed to parse JSON query body: {error}") from None
    if query.get("filter"):
        check_filter(query["filter"])
    return query


def check_filter(unit: Any) -> None:
    """Raises Invalid unless it is a comparison, or AND or OR of at least two units."""
    if not isinstance(unit, dict):
        raise _wrong("filter unit must be a map")
    if len(unit) != 1:
        raise _wrong("filter unit must have a single element")
    [(name, value)] = unit.items()
    if name in ("AND", "OR"):
        _check_units(name, value)
    elif name in COMPARISONS:
        _check_comparison(name, value)
    else:
        raise _wrong(f"unsupported filter {quote(name)}")


def _check_units(name: str, value: Any) -> None:
    if not isinstance(value, list):
        raise _wrong(f"{name} filter must be an array")
    if len(value) < FEWEST:
        raise _wrong(f"{name} filter must contain at least two entries")
    for unit in value:
        check_filter(unit)


def _check_comparison(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise _wrong(f"{name} filter must be a map")
    if len(value) != 1:
        raise _wrong(f"{name} filter must contain a single key/value pair")
    if name == "IN" and not isinstance(next(iter(value.values())), list):
        raise _wrong("IN filter value must be an array")


def _wrong(text: str) -> Invalid:
    return Invalid(f"failed to parse JSON query body: {text}")
