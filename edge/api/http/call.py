"""One call of the API on its way through a handler: who calls, with what, and the trace it belongs to."""

from __future__ import annotations

from edge.api.http.router import Route, unescape
from edge.app import App
from edge.blocks import Blocks
from edge.http1.messages import Request

PREFIX = "metadata."


class Call:
    """What a handler gets. parameters: of the path, unescaped, in order."""

    __slots__ = ("_query", "app", "baggage", "blocks", "parameters", "request", "route", "traceparent", "tracestate")

    def __init__(self, app: App, blocks: Blocks, request: Request, route: Route | None, parameters: list[str]) -> None:
        self.app, self.blocks, self.request = app, blocks, request
        self.route, self.parameters = route, parameters
        self.traceparent = self.tracestate = self.baggage = ""
        self._query: list[tuple[str, str]] | None = None

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The query, unescaped, in order."""
        if self._query is None:
            parts = (part.partition("=") for part in self.request.query.split("&") if part)
            self._query = [(unescape(name), unescape(value)) for name, _, value in parts]
        return self._query

    def query(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        if not self.request.query:
            return default
        return next((value for key, value in self.pairs if key == name), default)

    @property
    def metadata(self) -> dict[str, str]:
        """`metadata.<name>` of the query, first value wins."""
        found: dict[str, str] = {}
        if self.request.query:
            for key, value in self.pairs:
                if key.startswith(PREFIX):
                    found.setdefault(key[len(PREFIX) :], value)
        return found

    def header(self, name: str) -> str:
        return self.request.headers.get(name, "")
