"""CORS as daprd's `--allowed-origins` has it: `*` (alone or in a list), or a comma list whose origins are echoed (go-chi/cors)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edge.http1.messages import Headers, Response

NO_NAME = re.compile(r"[^A-Za-z0-9._\-, ]")
"""What a list of header names may hold and no name has: it is left out."""
METHODS = frozenset(("HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
PREFLIGHT_VARY = [("vary", "Origin"), ("vary", "Access-Control-Request-Method"), ("vary", "Access-Control-Request-Headers")]
ORIGIN_VARY = ("vary", "Origin")


class Cors:
    """The answers' headers, and the whole answer to a preflight."""

    def __init__(self, allowed_origins: str) -> None:
        origins = allowed_origins.lower().split(",")
        self._any = "*" in origins
        self._patterns = [_pattern(origin) for origin in origins]

    def preflight(self, headers: Headers) -> Response | None:
        """The answer if this is one (an OPTIONS with `Access-Control-Request-Method`)."""
        method = headers.get("access-control-request-method")
        if not method:
            return None
        origin = headers.get("origin", "")
        if not self._permits(origin) or method.upper() not in METHODS:
            return Response(200, PREFLIGHT_VARY)
        fields = [*PREFLIGHT_VARY, ("access-control-allow-origin", "*" if self._any else origin)]
        fields.append(("access-control-allow-methods", method.upper()))
        asked = NO_NAME.sub("", headers.get("access-control-request-headers", "")).replace(",", " ").split()
        if asked:
            fields.append(("access-control-allow-headers", ", ".join([_canonical(name) for name in asked])))
        return Response(200, fields)

    def fields(self, headers: Headers) -> list[tuple[str, str]]:
        """What every other answer gets."""
        origin = headers.get("origin", "")
        if not self._permits(origin):
            return [ORIGIN_VARY]
        return [ORIGIN_VARY, ("access-control-allow-origin", "*" if self._any else origin)]

    def _permits(self, origin: str) -> bool:
        if not origin:
            return False
        lower = origin.lower()
        return self._any or any(_fits(lower, pattern) for pattern in self._patterns)


def _pattern(origin: str) -> tuple[str, str | None]:
    """The text before and behind a wildcard (None = there is none)."""
    before, star, behind = origin.partition("*")
    return before, behind if star else None


def _fits(origin: str, pattern: Sequence[str | None]) -> bool:
    before, behind = pattern
    if behind is None:
        return origin == before
    return len(origin) >= len(before or "") + len(behind) and origin.startswith(before or "") and origin.endswith(behind)


def _canonical(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))
