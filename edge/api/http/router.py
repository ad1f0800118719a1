"""From method and path to a handler: escaped segments, fixed ones before parameters, and what is left goes to service invocation.

Source: dapr pkg/api/http/server.go, endpoints/endpoint.go (allow and deny lists), go-chi's matching @1.18.3.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edge.api.http.call import Call, Handler, unescape
from edge.http1.messages import Response
from edge.record import record

GROUP_AT = 2
GROUP_VERSIONS = {"v1.0": "v1", "v1.0-beta1": "v1beta1", "v1.0-alpha1": "v1alpha1", "v1.0-alpha2": "v1alpha2"}


@record
class Route:
    """One line of the API. path: `/v1.0/state/{store}/{key}`; a last `{topic…}` takes the rest. name: as logs and metrics call it.

    methods: () = any. group: its name in allow and deny lists. health: always allowed, not traced.
    """

    methods: tuple[str, ...]
    path: str
    handler: Handler
    group: str
    name: str
    health: bool = False

    def matches(self, rules: Iterable[str]) -> bool:
        """Is one of the rules (`version/name`) about this route: its group and version, or the beginning of its path."""
        version, _, route = self.path[1:].partition("/")
        path = f"{version}/{route}"
        return any(rule == f"{GROUP_VERSIONS[version]}/{self.group}" or path.startswith(rule) for rule in rules)


@record
class Rules:
    """Allow and deny lists as `version/name`; a non-empty allow list forbids all else, deny comes first."""

    allowed: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()

    def allow(self, route: Route) -> bool:
        if route.health:
            return True
        if self.denied and route.matches(self.denied):
            return False
        return not self.allowed or route.matches(self.allowed)


@dataclass(slots=True)
class Node:
    """A place in the tree of paths: fixed next segments, a parameter, the routes that end here, those that take the rest."""

    fixed: dict[str, Node] = field(default_factory=dict)
    parameter: Node | None = None
    routes: dict[str, Route] = field(default_factory=dict)
    rest: dict[str, Route] = field(default_factory=dict)


class Group(Protocol):
    """Routes that are loaded when a path asks for them."""

    def routes(self) -> Iterable[Route]: ...


class Router:
    """Finds the route of a call. fallback: for what no route takes; None: the router answers 404 and 405 itself.

    late: groups by the path's second segment.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        rules: Rules | None = None,
        fallback: Route | None = None,
        late: Mapping[str, Group] | None = None,
    ) -> None:
        self._rules = rules or Rules()
        self._root = Node()
        self._late = dict(late or {})
        self.fallback = fallback if fallback is not None and self._rules.allow(fallback) else None
        self._add_all(routes)

    def _add_all(self, routes: Iterable[Route]) -> None:
        for route in routes:
            if self._rules.allow(route):
                self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.path.split("/")[1:]:
            if segment.endswith("…}"):
                node.rest.update(dict.fromkeys(route.methods, route))
                return
            if segment.startswith("{"):
                node.parameter = node = node.parameter or Node()
            else:
                node = node.fixed.setdefault(segment, Node())
        node.routes.update(dict.fromkeys(route.methods, route))

    def __call__(self, call: Call) -> Response | None:
        """Set `call.route` and `call.params`, or return the router's own answer."""
        segments = call.path.split("/")
        if len(segments) > GROUP_AT and segments[GROUP_AT] in self._late:
            self._add_all(self._late.pop(segments[GROUP_AT]).routes())
        found = _find(self._root, segments, 1, call.method)
        if found is not None:
            call.route, values = found
            call.params = tuple([unescape(value) for value in values]) if "%" in call.path or "+" in call.path else tuple(values)
            return None
        if self.fallback is not None:
            call.route = self.fallback
            return None
        methods = sorted(_methods(self._root, segments, 1))
        if methods:
            return Response(405, [("allow", method) for method in methods])
        return _NOT_FOUND


_NOT_FOUND = Response(404, (("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")), b"404 page not found\n")


def clean(path: str) -> str:
    """Go's path.Clean: double slashes, dot segments and a last slash go."""
    if "//" in path or "/." in path:
        path = posixpath.normpath(path)
        return path[1:] if path.startswith("//") else path
    return path[:-1] if path.endswith("/") and len(path) > 1 else path


def _find(node: Node, segments: list[str], at: int, method: str) -> tuple[Route, list[str]] | None:
    """The route and its raw parameter values, last one first found."""
    if at == len(segments):
        route = node.routes.get(method)
        return None if route is None else (route, [])
    segment = segments[at]
    inner = node.fixed.get(segment)
    if inner is not None and (found := _find(inner, segments, at + 1, method)) is not None:
        return found
    if node.parameter is not None and segment:
        found = _find(node.parameter, segments, at + 1, method)
        if found is not None:
            found[1].insert(0, segment)
            return found
    route = node.rest.get(method)
    return None if route is None else (route, ["/".join(segments[at:])])


def _methods(node: Node, segments: list[str], at: int) -> set[str]:
    """The methods that the path would have."""
    if at == len(segments):
        return set(node.routes)
    segment, found = segments[at], set(node.rest)
    if segment in node.fixed:
        found |= _methods(node.fixed[segment], segments, at + 1)
    if node.parameter is not None and segment:
        found |= _methods(node.parameter, segments, at + 1)
    return found
