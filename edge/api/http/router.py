"""Which handler answers a path: matching on the escaped, cleaned path; static segments before parameters, per method.

Source: http-api.md §1.3. Each parameter is query-unescaped after matching: `%2F` is a slash inside one parameter, `+` a space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

ANY = "*"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. methods: verbs, or ANY. path: `/v1.0/state/{store}/{key}`; a last `{name*}` takes the rest, slashes included.

    group: Dapr's API group (allow and deny lists). name: for logs and metrics. health: no token, no trace.
    """

    methods: tuple[str, ...]
    path: str
    handler: Callable[..., Any]
    group: str
    name: str = ""
    health: bool = False

    @property
    def version(self) -> str:
        """`v1.0` of `/v1.0/state/…`."""
        return self.path.split("/", 2)[1]


class _Node:
    __slots__ = ("parameter", "rest", "routes", "static")

    def __init__(self) -> None:
        self.static: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.rest: dict[str, Route] = {}
        self.routes: dict[str, Route] = {}


class Router:
    """All routes of one listener."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        for part in route.path.strip("/").split("/"):
            if part.endswith("*}"):
                node.rest.update(dict.fromkeys(route.methods, route))
                return
            if part.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.static.setdefault(part, _Node())
        node.routes.update(dict.fromkeys(route.methods, route))

    def find(self, method: str, path: str) -> tuple[Route, list[str]] | None:
        """The route of a cleaned path and its parameters, unescaped; None when nothing matches this method."""
        parts = path.split("/")
        found: list[str] = []
        route = self._match(self._root, method, parts, 1, found)
        return None if route is None else (route, found)

    def _match(self, node: _Node, method: str, parts: list[str], index: int, found: list[str]) -> Route | None:
        if index == len(parts):
            return node.routes.get(method) or node.routes.get(ANY)
        part = parts[index]
        if (child := node.static.get(part)) is not None:
            route = self._match(child, method, parts, index + 1, found)
            if route is not None:
                return route
        if node.parameter is not None and part:
            found.append(unescape(part))
            route = self._match(node.parameter, method, parts, index + 1, found)
            if route is not None:
                return route
            found.pop()
        rest = node.rest.get(method) or node.rest.get(ANY)
        if rest is not None:
            tail = "/".join(parts[index:])
            if tail:
                found.append(unescape(tail))
                return rest
        return None

    def methods(self, path: str) -> list[str]:
        """Verbs that this path has (for 405)."""
        known = sorted({m for m in _methods_below(self._root) if m != ANY})
        return [method for method in known if self.find(method, path) is not None]


def _methods_below(node: _Node) -> set[str]:
    found = set(node.routes) | set(node.rest)
    for child in (*node.static.values(), *((node.parameter,) if node.parameter else ())):
        found |= _methods_below(child)
    return found


def unescape(text: str) -> str:
    """Query-unescape: `+` is a space, `%XX` a byte; bytes that are no UTF-8 become U+FFFD."""
    if "%" not in text and "+" not in text:
        return text
    return unquote(text.replace("+", " "))


def clean(path: str) -> str:
    """Repeated slashes collapse, dot segments resolve, one trailing slash is ignored; the path stays escaped."""
    if "//" not in path and "/." not in path:
        return path[:-1] if len(path) > 1 and path.endswith("/") else path
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if kept:
                kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept)
