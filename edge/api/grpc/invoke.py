"""InvokeService (deprecated in Dapr): one message to a method of an app, over HTTP or gRPC (grpc-api.md §4)."""

from __future__ import annotations

from typing import Any

from edge import errors
from edge.api.grpc.call import Call, RpcError, Unary
from edge.api.grpc.context import trace_field
from edge.api.grpc.errors import from_http
from edge.channel.grpc_fields import to_metadata
from edge.errors import EdgeError, Grpc
from edge.model import InvokeRequest, InvokeResponse
from edge.received import NO_TRACE, traceparent
from edge.rpc.hpack import Field
from edge.rpc.pb import common_pb2, invoke_pb2
from edge.rpc.status import encode_bin

BY_STATUS = {
    408: Grpc.CANCELLED, 400: Grpc.INTERNAL, 401: Grpc.UNAUTHENTICATED, 403: Grpc.PERMISSION_DENIED, 404: Grpc.NOT_FOUND,
    409: Grpc.ALREADY_EXISTS, 429: Grpc.RESOURCE_EXHAUSTED, 501: Grpc.UNIMPLEMENTED, 503: Grpc.UNAVAILABLE,
    504: Grpc.DEADLINE_EXCEEDED,
}  # fmt: skip
FIRST_FAILURE = 300
DROPPED = frozenset(("traceparent", "tracestate", "baggage", "content-type", "grpc-trace-bin"))
NOT_PASSED = frozenset(("traceparent", "tracestate", "content-type", "grpc-encoding", "grpc-accept-encoding"))


async def invoke(call: Call, request: Any) -> Any:
    message = request.message
    extension = message.http_extension
    asked = InvokeRequest(
        _verb(extension.verb) if message.HasField("http_extension") else "",
        message.method,
        extension.querystring,
        _headers(call),
        message.data.value,
        message.content_type or None,
        grpc=True,
        type_url=message.data.type_url,
        missing=not request.HasField("message"),
    )
    answer = await call.blocks.invoke.invoke(call.app, request.id, asked)
    body = await _whole(request.id, answer)
    if answer.grpc_status is None:
        return _from_http(call, answer, body)
    passed = [field for field in answer.headers if field[0] not in NOT_PASSED]
    call.headers += [*_trace(call), *passed]
    trailers = [*_trace(call), *(field for field in answer.trailers if field[0] not in NOT_PASSED)]
    code, text = answer.grpc_status
    if code != Grpc.OK:
        raise RpcError(code, text, answer.grpc_details, trailers)
    call.trailers += trailers
    return common_pb2.InvokeResponse(data={"value": body, "type_url": answer.type_url}, content_type=answer.content_type or "")


def _verb(number: int) -> str:
    """Its name; a number that has none is a verb itself."""
    names = common_pb2.HTTPExtension.Verb
    return names.Name(number) if number in names.values() else str(number)


async def _whole(app_id: str, answer: InvokeResponse) -> bytes:
    """The body. Raises EdgeError when it broke off."""
    if isinstance(answer.body, bytes):
        return answer.body
    try:
        return b"".join([piece async for piece in answer.body])
    except OSError as error:
        raise EdgeError(errors.DIRECT_INVOKE, app=app_id, error=error) from error


def _from_http(call: Call, answer: InvokeResponse, body: bytes) -> Any:
    """An HTTP app's answer: its status and headers as metadata, an error status as gRPC's."""
    headers = [(name, value) for name, value in answer.headers if name.lower() != "content-length"]
    own = next((value for name, value in headers if name.lower() == "traceparent"), "")
    fields = [_wire(*field) for field in to_metadata(field for field in headers if field[0].lower() != "traceparent")]
    call.headers += [*_trace(call, traceparent(own)), *fields, ("dapr-http-status", str(answer.status))]
    if not 200 <= answer.status < FIRST_FAILURE:
        raise from_http(answer.status, body.decode("utf-8", "replace"), BY_STATUS.get(answer.status, Grpc.UNKNOWN))
    return common_pb2.InvokeResponse(data={"value": body}, content_type=answer.content_type or "")


def _wire(name: str, value: str) -> Field:
    """What an HTTP app calls `…-bin` are bytes for gRPC."""
    return (name, encode_bin(value.encode("utf-8", "surrogateescape"))) if name.endswith("-bin") else (name, value)


def _trace(call: Call, own: str = "") -> list[Field]:
    """In both forms. own: the app's."""
    parent = own or call.traceparent
    return [("traceparent", parent or NO_TRACE), trace_field(parent)]


def _headers(call: Call) -> list[Field]:
    """What the caller sent, for the app (`-bin` values in base64); the trace context as it goes on."""
    kept = [(key, value if isinstance(value, str) else encode_bin(value)) for key, value in call.metadata if key not in DROPPED]
    trace = {"traceparent": call.traceparent, "tracestate": call.tracestate, "baggage": call.baggage}
    return [*kept, *((name, value) for name, value in trace.items() if value)]


RPCS: dict[str, tuple[type, Unary]] = {"InvokeService": (invoke_pb2.InvokeServiceRequest, invoke)}
