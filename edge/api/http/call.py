"""One request on its way through the API: what a handler reads of it, and Go's reading of query strings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote_plus

from edge import errors
from edge.api.http.trace import Trace
from edge.app import App
from edge.blocks import Blocks
from edge.errors import EdgeError
from edge.gofloat import decode_marked
from edge.goscanner import JsonError
from edge.http1.messages import BodyTooLarge, Request, Response

if TYPE_CHECKING:
    from edge.api.http.router import Route

PREFIX = "metadata."
HEX = frozenset("0123456789abcdefABCDEF")

Answer: TypeAlias = "Response | Awaitable[Response]"
Handler: TypeAlias = "Callable[[Call], Answer]"


class Call:
    """method, path: what the router looks at (path cleaned, still escaped). raw_path: as sent. params: the route's, unescaped."""

    __slots__ = ("app", "blocks", "method", "params", "path", "query", "raw_path", "request", "route", "trace")

    def __init__(self, app: App, blocks: Blocks, request: Request, path: str, trace: Trace) -> None:
        self.app, self.blocks, self.request, self.path, self.trace = app, blocks, request, path, trace
        self.method, self.query, self.raw_path = request.method, request.query, request.path
        self.params: tuple[str, ...] = ()
        self.route: Route | None = None

    def metadata(self) -> dict[str, str]:
        """The query's `metadata.<name>` parameters; the first value of a name counts."""
        query = self.query
        if not query:
            return {}
        found: dict[str, str] = {}
        for name, value in pairs(query):
            if name.startswith(PREFIX):
                found.setdefault(name[len(PREFIX) :], value)
        return found

    def argument(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next((value for key, value in pairs(self.query) if key == name), None) if self.query else None

    def arguments(self, name: str) -> list[str]:
        """All values of a query parameter."""
        return [value for key, value in pairs(self.query) if key == name]

    async def body(self) -> bytes:
        """The whole body. Raises OSError, BodyTooLarge (`stream too large`)."""
        body = self.request.data
        return await self.request.body() if body is None else body

    async def json(self) -> Any:
        """The body's first JSON value (edge/gofloat.py). Raises MALFORMED_REQUEST."""
        try:
            return decode_marked(await self.body())
        except (JsonError, BodyTooLarge) as error:
            raise EdgeError(errors.MALFORMED_REQUEST, error=error) from None


def pairs(query: str) -> Iterator[tuple[str, str]]:
    """Go's url.ParseQuery: what has a semicolon or a bad escape is left out."""
    for part in query.split("&"):
        if not part or ";" in part or ("%" in part and _bad_escape(part)):
            continue
        name, _, value = part.partition("=")
        yield unescape(name), unescape(value)


def unescape(text: str) -> str:
    """Go's url.QueryUnescape of a text without bad escapes."""
    return unquote_plus(text) if "%" in text or "+" in text else text


def _bad_escape(text: str) -> bool:
    return any(len(part) < 2 or part[0] not in HEX or part[1] not in HEX for part in text.split("%")[1:])
