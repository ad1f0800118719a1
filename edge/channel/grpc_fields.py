"""HTTP headers as gRPC metadata and back, by Dapr's rules (grpc-api.md §4, app-channel.md §10.2).

Source: dapr pkg/messaging/v1/util.go @1.18.3.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Mapping

from edge.model import InvokeRequest
from edge.received import NO_TRACE
from edge.rpc.hpack import Field
from edge.rpc.status import decode_bin, encode_bin

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
# what grpc-go keeps for itself
RESERVED = frozenset(("content-type", "user-agent", "te", "grpc-timeout", "grpc-encoding", "grpc-message", "grpc-status", "grpc-trace-bin"))
OF_THE_CALL = frozenset(("grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "grpc-message", "grpc-status", "grpc-trace-bin"))
NOT_CUSTOM = frozenset(("content-type", "content-length"))
KEY = re.compile(r"[0-9a-z_.-]+")
UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


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


def custom(metadata: Mapping[str, str]) -> list[Field]:
    """Broker metadata as metadata of the call; names that gRPC does not allow or keeps for itself are left out."""
    found = []
    for name, value in metadata.items():
        lower = name.lower()
        if lower in NOT_CUSTOM or lower in RESERVED or lower.startswith("grpc-") or not KEY.fullmatch(lower):
            continue
        found.append((lower, encode_bin(value.encode()) if lower.endswith("-bin") else UNPRINTABLE.sub(" ", value)))
    return found


def invoke_fields(request: InvokeRequest, token: list[Field]) -> list[Field]:
    """The metadata of OnInvoke: a gRPC caller's as they came, an HTTP caller's headers with prefixes where gRPC needs them."""
    found, trace = [], NO_TRACE
    ours = {name for name, _ in token}
    for name, value in request.headers:
        lower = name.lower()
        if lower == "traceparent":
            trace = value
        elif lower in ours or lower in OURS or lower[:1] == ":" or lower in OF_THE_CALL or not KEY.fullmatch(lower):
            continue
        elif lower.endswith("-bin"):
            found += _binary(lower, value) if request.grpc else [(lower, encode_bin(value.encode("utf-8", "surrogateescape")))]
        elif request.grpc:
            if lower not in RESERVED:
                found.append((lower, value))
        elif lower not in ("host", "transfer-encoding"):
            found.append((PREFIX + lower if lower in PERMANENT else lower, UNPRINTABLE.sub(" ", value)))
    return [("traceparent", trace), *found, *token]


def _binary(name: str, value: str) -> list[Field]:
    try:
        return [(name, encode_bin(decode_bin(value)))]
    except (binascii.Error, ValueError):
        return []
