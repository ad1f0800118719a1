"""`middleware.http.routeralias`: other paths for Dapr's; `{name}` segments become query parameters.

Source: components-contrib middleware/http/routeralias @1.18.4; differs: every API can have an alias, not only service invocation.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar
from urllib.parse import parse_qsl, quote, unquote, urlencode

from components.middleware._request import changed
from edge.component import Context, Feature
from edge.errors import Invalid
from edge.http1.messages import Request, Response
from edge.record import record
from edge.spec import meta

PARAMETER = re.compile(r"\{([^{}:]+)(?::((?:[^{}]|\{[^{}]*\})*))?\}")
SAFE = "/$&+,:;=@!'()*~"


@record
class Fields:
    """Fields of the component."""

    routes: str = meta(
        "",
        doc="JSON or YAML map: path to Dapr's path; `{id}` (or `{id:regex}`) takes a segment.",
        example='{"/apples/{kind}": "/v1.0/invoke/fruit/method/apples"}',
    )


class Middleware:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._routes: list[tuple[re.Pattern[str], str]] = []

    async def open(self) -> None:
        """Raises Invalid for routes that are no map of texts."""
        for alias, path in self._read().items():
            try:
                self._routes.append((re.compile(_pattern(alias)), path))
            except re.error as error:
                raise Invalid(f"route '{alias}' of routes: {error}") from None

    def _read(self) -> Mapping[str, str]:
        import yaml  # once per start, for those who have aliases

        try:
            routes = yaml.safe_load(self.metadata.routes) or {}
        except yaml.YAMLError as error:
            raise Invalid(f"failed to decode 'routes' property as JSON or YAML: {error}") from None
        if not isinstance(routes, dict):
            raise Invalid("failed to decode 'routes' property as JSON or YAML: it is no map")
        return {str(alias): str(path) for alias, path in routes.items()}

    async def close(self) -> None:
        """Nothing to do."""

    async def handle(self, request: Request, next_: Callable[[Request], Awaitable[Response]]) -> Response:
        path = unquote(request.path)
        for pattern, target in self._routes:
            match = pattern.fullmatch(path)
            if match is not None:
                return await next_(changed(request, target=_target(target, request.query, match.groupdict())))
        return await next_(request)


def _pattern(alias: str) -> str:
    """An alias as a regular expression with a group for each parameter."""
    parts, at = [], 0
    for hole in PARAMETER.finditer(alias):
        parts += [re.escape(alias[at : hole.start()]), f"(?P<{hole[1]}>{hole[2] or '[^/]+'})"]
        at = hole.end()
    return "".join(parts) + re.escape(alias[at:])


def _target(path: str, query: str, parameters: Mapping[str, str]) -> str:
    """Path and query of the request that goes on; with parameters the query is written anew, its names sorted."""
    if parameters:
        pairs = [*parse_qsl(query, keep_blank_values=True), *parameters.items()]
        query = urlencode(sorted(pairs, key=lambda pair: pair[0]))
    escaped = quote(path, safe=SAFE)
    return f"{escaped}?{query}" if query else escaped
