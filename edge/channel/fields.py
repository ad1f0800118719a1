"""Header fields of a request to an app, as Go's net/http would send them: which, how spelled, in which order."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote

from edge.gourl import BAD_ESCAPE
from edge.received import NO_TRACE

Fields = list[tuple[str, str]]

HOP_BY_HOP = frozenset(
    (
        "connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "transfer-encoding", "upgrade",
        "http2-settings", "te", "trailer",
    )
)  # fmt: skip
NOT_FORWARDED = HOP_BY_HOP | {"host", "content-length", "destination-app-id", "user-agent", "content-type"}
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
ANY_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
PATH_SAFE = "/$&+,:;=@!'()*[]~%"
ESCAPED_SAFE = "/$&+,:;=@~"
ROUTE_SAFE = PATH_SAFE + "?"
QUERY_SAFE = "".join(map(chr, range(0x21, 0x7F)))
PLAIN_PATH = re.compile(r"[A-Za-z0-9\-_.~/$&+,:;=@!'()*\[\]%]*")
TRACE_FIELDS = frozenset(("traceparent", "tracestate", "grpc-trace-bin"))


def canonical(name: str) -> str:
    """Go's CanonicalHeaderKey of a valid name."""
    return "-".join(part.capitalize() for part in name.split("-"))


def from_metadata(metadata: Mapping[str, str]) -> Fields:
    """Broker or binding metadata as fields: no hop-by-hop, no content fields, no trace fields, no `-bin`, no name that HTTP forbids."""
    fields: Fields = []
    for name, value in metadata.items():
        lower = name.lower()
        if lower in NOT_FORWARDED or lower in TRACE_FIELDS or lower.endswith("-bin") or not TOKEN.fullmatch(name):
            continue
        fields.append((canonical(lower), CONTROL.sub(" ", value)))
    return fields


def of_event(metadata: Mapping[str, str], trace: str | None) -> Fields:
    """What a message's metadata add to its delivery. trace: the event's own; where that is none, metadata may have one."""
    fields = [field for field in from_metadata(metadata) if field[0] != "Pubsubname"]
    if trace is None or trace == NO_TRACE:
        trace = next((value for name, value in metadata.items() if value and name.lower() == "traceparent"), trace)
    return fields if trace is None else [*fields, ("Traceparent", CONTROL.sub(" ", trace))]


def forwarded(headers: Iterable[tuple[str, str]]) -> Fields:
    """What of a caller's headers reaches the app (app-channel.md §10.1). names in lower case."""
    headers = list(headers)
    named = {token.strip().lower() for name, value in headers if name == "connection" for token in value.split(",")}
    fields: Fields = []
    for name, value in headers:
        if name == ":authority":
            name = "dapr-authority"  # of a caller that speaks gRPC
        if name in NOT_FORWARDED or name in named or name.endswith("-bin") or not TOKEN.fullmatch(name):
            continue
        fields.append((canonical(f"dapr-{name}" if name.startswith("grpc-") else name), CONTROL.sub(" ", value)))
    return [*fields, ("Cache-Control", "no-cache")] if _uncached(headers) else fields


def returned(headers: Iterable[tuple[str, str]]) -> Fields:
    """What of an app's answer reaches the caller: no hop-by-hop headers, no Content-Length. Names in lower case."""
    headers = list(headers)
    named = {token.strip().lower() for name, value in headers if name == "connection" for token in value.split(",")}
    kept = [(name, value) for name, value in headers if name not in HOP_BY_HOP and name != "content-length" and name not in named]
    return [*kept, ("cache-control", "no-cache")] if _uncached(headers) else kept


def _uncached(headers: Fields) -> bool:
    """`Pragma: no-cache` alone means the newer header too (net/http)."""
    return ("pragma", "no-cache") in headers and all(name != "cache-control" for name, _ in headers)


def route_target(route: str) -> str:
    """The request target of a subscription or binding route: cleaned as Go's path.Clean does, a leading slash added, no fragment."""
    return quote(_clean(route).partition("#")[0], safe=ROUTE_SAFE)


def method_target(path: str, query: str) -> str:
    """The request target of an invocation, its path read as Go reads a URL's: escapes in it stay, what must be escaped is.

    path: `..` can't escape, `//` and a trailing `/` go. Raises ValueError for a broken escape or a control character in the query.
    """
    target = _escaped(_clean(path))
    if ANY_CONTROL.search(query):
        raise ValueError("net/url: invalid control character in URL")
    query = query.partition("#")[0]
    if not query.isascii() or " " in query:  # Go sends a space as it is, which no server takes
        query = quote(query, safe=QUERY_SAFE, errors="surrogateescape")
    return f"{target}?{query}" if query else target


def _escaped(path: str) -> str:
    """As it is if nothing in it has to be escaped; else its meaning is escaped anew, with fewer characters left plain (Go's URL)."""
    if "%" in path and (wrong := BAD_ESCAPE.search(path)) is not None:
        raise ValueError(f'invalid URL escape "{wrong[0]}"')
    if PLAIN_PATH.fullmatch(path):
        return path
    return quote(unquote(path, errors="surrogateescape"), safe=ESCAPED_SAFE, errors="surrogateescape")


def _clean(path: str) -> str:
    clean = posixpath.normpath("/" + path.lstrip("/"))
    return clean if clean.startswith("/") else f"/{clean}"
