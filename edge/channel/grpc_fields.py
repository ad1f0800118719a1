"""HTTP headers as gRPC metadata and back, by Dapr's rules (grpc-api.md §4, app-channel.md §10.2).

Source: dapr pkg/messaging/v1/util.go @1.18.3.
"""

from __future__ import annotations

from collections.abc import Iterable

from edge.rpc.hpack import Field

# IANA's permanent request headers: a gRPC app sees them as `dapr-<name>`
PERMANENT = frozenset((
    "accept", "accept-charset", "accept-language", "accept-ranges", "connection", "keep-alive", "proxy-connection", "transfer-encoding",
    "upgrade", "cache-control", "content-type", "content-length", "cookie", "date", "expect", "from", "host", "if-match",
    "if-modified-since", "if-none-match", "if-schedule-tag-match", "if-unmodified-since", "max-forwards", "origin", "pragma", "referer",
    "via", "warning",
))  # fmt: skip
PSEUDO = frozenset((":method", ":scheme", ":path", ":authority"))
PREFIX = "dapr-"
# not a caller's to set on a gRPC call
OURS = frozenset(("user-agent", "te", "destination-app-id"))
NO_TRACE = "00-00000000000000000000000000000000-0000000000000000-00"


def to_metadata(headers: Iterable[Field]) -> list[Field]:
    """HTTP headers (names in any case) as metadata of a gRPC call or answer."""
    found = []
    for name, value in headers:
        lower = name.lower()
        if lower in PERMANENT:
            lower = PREFIX + lower
        if lower not in OURS and not lower.startswith(("grpc-", ":")):
            found.append((lower, value))
    return found


def to_headers(metadata: Iterable[Field]) -> list[Field]:
    """A gRPC app's metadata as HTTP headers: what gRPC reserves gets a prefix, binary values are left out."""
    found = []
    for name, value in metadata:
        if not name.endswith("-bin") and name not in ("content-type", "content-length"):
            found.append((unreserved(name), value))
    return found


def unreserved(name: str) -> str:
    """`:authority` as `dapr-authority`, `grpc-x` as `dapr-grpc-x`."""
    if name in PSEUDO:
        return PREFIX + name[1:]
    return PREFIX + name if name.startswith("grpc-") else name
