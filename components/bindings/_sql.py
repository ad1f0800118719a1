"""What the SQL bindings share: the request's statement and parameters, and the metadata of Dapr's answer.

Source: components-contrib bindings/postgres @1.18.4.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from edge.durations import format_go_duration
from edge.errors import Invalid, Unsupported

OPERATIONS = ("exec", "query", "close")


def statement(metadata: Mapping[str, str]) -> tuple[str, list[Any]]:
    """`sql` and the JSON array `params`. Raises Invalid in Dapr's words."""
    sql = metadata.get("sql", "")
    if not sql:
        raise Invalid("required metadata not set: sql")
    text = metadata.get("params", "")
    if not text:
        return sql, []
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"invalid metadata property params: failed to unserialize into an array: {error}") from error
    if not isinstance(values, list):
        raise Invalid("invalid metadata property params: failed to unserialize into an array: it is no JSON array")
    return sql, values


def known(operation: str) -> None:
    """Raises Unsupported in Dapr's words."""
    if operation not in OPERATIONS:
        raise Unsupported(f"invalid operation type: {operation}. Expected exec, query, or close")


class Answer:
    """The metadata of one answer, counted from here."""

    def __init__(self, operation: str, sql: str) -> None:
        self._began, self._start = time.time_ns(), time.monotonic_ns()
        self._given = {"operation": operation, "sql": sql}

    def metadata(self, rows: int | None = None) -> dict[str, str]:
        """rows: how many `exec` affected."""
        took = time.monotonic_ns() - self._start
        found = {**self._given, "start-time": _rfc3339(self._began)}
        if rows is not None:
            found["rows-affected"] = str(rows)
        return {**found, "end-time": _rfc3339(self._began + took), "duration": format_go_duration(took / 1e9)}


def _rfc3339(nanos: int) -> str:
    """Go's RFC3339Nano in UTC."""
    seconds, rest = divmod(nanos, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"
