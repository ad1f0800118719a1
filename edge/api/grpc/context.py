"""What a call's metadata say to the runtime itself: trace context, baggage, API token. Read once per header block."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from edge.api.baggage import parse
from edge.api.grpc.errors import from_http
from edge.errors import Grpc
from edge.received import traceparent
from edge.record import record
from edge.rpc.call import CallHead
from edge.rpc.hpack import NO_TRACE, Field
from edge.rpc.status import RpcError, decode_bin, encode_bin

TOKEN = "dapr-api-token"
UNAUTHORIZED = 401
TRACE_BIN_SIZE = 29


@record
class Context:
    """traceparent, tracestate, baggage: "" = none. refused: why the call must not be served. echoed: goes on the answer."""

    metadata: Sequence[tuple[str, str | bytes]] = ()
    traceparent: str = ""
    tracestate: str = ""
    baggage: str = ""
    refused: RpcError | None = None
    echoed: tuple[Field, ...] = ()


NO_CONTEXT = Context()


def read(head: CallHead, token: bytes, *, traced: bool = True) -> Context:
    """token: what callers must send, b"" = nothing. traced: baggage is read."""
    values: dict[str, str] = {}
    found: list[tuple[str, str | bytes]] = []
    for name, value in head.metadata():
        values.setdefault(name, value)
        if name == TOKEN and token:
            continue
        found.append((name, _binary(value) if name.endswith("-bin") else value))
    refused = _check_token(values.get(TOKEN), token) if token else None
    baggage = ",".join(value for name, value in found if name == "baggage" and isinstance(value, str))
    written, wrong = parse(baggage) if baggage and traced and refused is None else ("", "")
    if wrong:
        refused = RpcError(Grpc.INVALID_ARGUMENT, f"invalid baggage header: {wrong}")
    parent = _from_binary(values["grpc-trace-bin"]) if "grpc-trace-bin" in values else traceparent(values.get("traceparent", ""))
    state = values.get("tracestate", "") if parent else ""
    return Context(found, parent, state, baggage, refused, (("baggage", written),) if written else ())


def _check_token(given: str | None, token: bytes) -> RpcError | None:
    if given is None:
        text = "missing api token in request metadata"
    elif hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token):
        return None
    else:
        text = "authentication error: api token mismatch"
    return from_http(UNAUTHORIZED, text, Grpc.UNAUTHENTICATED)


def _binary(value: str) -> bytes:
    try:
        return decode_bin(value)
    except ValueError:
        return value.encode()


def trace_field(parent: str) -> Field:
    """`grpc-trace-bin` of a valid traceparent or "", in OpenCensus' binary form."""
    return (NO_TRACE[0], encode_bin(binary(parent))) if parent else NO_TRACE


def binary(parent: str) -> bytes:
    """A traceparent in OpenCensus' binary form."""
    version, trace_id, span_id, flags = parent.split("-")
    return bytes.fromhex(f"00{version}{trace_id}01{span_id}02{flags}")


def _from_binary(value: str) -> str:
    """OpenCensus' binary trace context as a traceparent: version, then fields 0 (trace id), 1 (span id), 2 (options)."""
    data = _binary(value)
    if len(data) != TRACE_BIN_SIZE or (data[0], data[1], data[18], data[27]) != (0, 0, 1, 2):
        return ""
    return traceparent(f"00-{data[2:18].hex()}-{data[19:27].hex()}-{data[28]:02x}")
