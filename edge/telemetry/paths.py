"""Paths as labels by `spec.metric.http.pathMatching`: patterns as Go's ServeMux has them. Imported where there are any.

Source: dapr pkg/diagnostics/http_monitoring_path_matching.go @1.18.3; Go net/http ServeMux.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from edge.telemetry.metrics import path_label

STATIC = frozenset(("/dapr/config", "/dapr/metrics", "/dapr/subscribe", "/healthz"))
INVOKE = "/v1.0/invoke/"
SLASHES = re.compile("//+")


def matcher(patterns: Iterable[str], *, legacy: bool) -> Callable[[str], str]:
    """path -> its label. legacy: `increasedCardinality`, what no pattern matches keeps its path; else it has none."""
    known: set[str] = set()
    for pattern in map(normal, patterns):
        known.add(pattern)
        if not pattern.startswith(INVOKE):
            known.add(f"{INVOKE}{{app_id}}/method{pattern}")
    compiled = [(_compiled(pattern), pattern) for pattern in sorted(known, key=_specific)]

    def match(path: str) -> str:
        return next((pattern for expression, pattern in compiled if expression.fullmatch(path)), "")

    def label(path: str) -> str:
        if path in STATIC:
            return path
        path = normal(path)
        found = match(path)
        if found and (not legacy or found != path):
            return found
        short = path_label(path)
        found = match(short) if short != path else ""
        if found and found != "/":
            return found
        return short if legacy else ""

    return label


def normal(path: str) -> str:
    """One slash in front, none doubled."""
    path = SLASHES.sub("/", path)
    return path if path.startswith("/") else f"/{path}"


def _specific(pattern: str) -> list[tuple[int, str]]:
    """Sort key: segment by segment, what is written counts more than a wildcard, that more than the rest of a path."""
    return [(_rank(segment), segment) for segment in pattern.split("/")[1:]]


def _rank(segment: str) -> int:
    if segment == "" or segment.endswith("...}"):
        return 2
    return 1 if segment.startswith("{") and segment != "{$}" else 0


def _compiled(pattern: str) -> re.Pattern[str]:
    parts = []
    for segment in pattern.split("/")[1:]:
        if segment == "{$}":
            parts.append("")
        elif segment == "" or segment.endswith("...}"):
            parts.append(".*")
        elif segment.startswith("{"):
            parts.append("[^/]+")
        else:
            parts.append(re.escape(segment))
    return re.compile("/" + "/".join(parts), re.DOTALL)
