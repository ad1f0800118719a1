"""InvokeService (deprecated in Dapr): one message to a method of an app, over HTTP or gRPC (grpc-api.md §4)."""

from __future__ import annotations

from typing import Any

from edge import errors
from edge.api.grpc.call import Call, RpcError, Unary
from edge.api.grpc.errors import from_http
from edge.channel.grpc_fields import NO_TRACE, to_metadata, unreserved
from edge.errors import EdgeError, Grpc
from edge.model import InvokeRequest, InvokeResponse
from edge.rpc.hpack import Field
from edge.rpc.pb import common_pb2, invoke_pb2

MISSING = "rpc error: code = InvalidArgument desc = missing HTTP extension field"
GRPC = ("grpc", "grpcs")
BY_STATUS = {
    408: Grpc.CANCELLED, 400: Grpc.INTERNAL, 401: Grpc.UNAUTHENTICATED, 403: Grpc.PERMISSION_DENIED, 404: Grpc.NOT_FOUND,
    409: Grpc.ALREADY_EXISTS, 429: Grpc.RESOURCE_EXHAUSTED, 501: Grpc.UNIMPLEMENTED, 503: Grpc.UNAVAILABLE,
    504: Grpc.DEADLINE_EXCEEDED,
}  # fmt: skip
FIRST_FAILURE = 300


async def invoke(call: Call, request: Any) -> Any:
    message = request.message
    if not message.HasField("http_extension") and request.id and not (request.id == call.app.id and call.app.protocol in GRPC):
        raise EdgeError(errors.DIRECT_INVOKE, app=request.id, error=MISSING)
    extension = message.http_extension
    asked = InvokeRequest(
        common_pb2.HTTPExtension.Verb.Name(extension.verb),
        message.method,
        extension.querystring,
        _headers(call),
        message.data.value,
        message.content_type or None,
    )
    answer = await call.blocks.invoke.invoke(call.app, request.id, asked)
    body = answer.body if isinstance(answer.body, bytes) else b"".join([piece async for piece in answer.body])
    call.headers += _metadata(answer)
    if answer.grpc_status is not None and answer.grpc_status[0] != Grpc.OK:
        raise RpcError(*answer.grpc_status, answer.grpc_details, answer.trailers)
    if answer.grpc_status is None:
        call.headers.append(("dapr-http-status", str(answer.status)))
        if not 200 <= answer.status < FIRST_FAILURE:
            raise from_http(answer.status, body.decode("utf-8", "replace"), BY_STATUS.get(answer.status, Grpc.UNKNOWN))
    return common_pb2.InvokeResponse(data={"value": body}, content_type=answer.content_type or "")


def _headers(call: Call) -> list[Field]:
    """What the caller sent, for the app; the trace context as it goes on."""
    dropped = ("traceparent", "tracestate", "baggage", "content-type", "user-agent", "grpc-trace-bin")
    kept = [(unreserved(key), value) for key, value in call.metadata if isinstance(value, str) and key not in dropped]
    trace = {"traceparent": call.traceparent, "tracestate": call.tracestate, "baggage": call.baggage}
    return [*kept, *((name, value) for name, value in trace.items() if value)]


def _metadata(answer: InvokeResponse) -> list[Field]:
    found = to_metadata((name, value) for name, value in answer.headers if name.lower() not in ("traceparent", "content-length"))
    return [("traceparent", NO_TRACE), *found]


RPCS: dict[str, tuple[type, Unary]] = {"InvokeService": (invoke_pb2.InvokeServiceRequest, invoke)}
