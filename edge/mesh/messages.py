"""InvokeRequest and InvokeResponse as the messages that sidecars exchange, and back. protobuf comes with this module.

Headers travel as a map of lists; names as Go's HTTP server has them (`X-One`) when an HTTP caller sent them, in lower case from gRPC:
by that the callee's daprd tells which is which. Source: dapr pkg/messaging/v1 @1.18.3.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from edge.app import AppUnavailable
from edge.channel.fields import HOP_BY_HOP, canonical
from edge.channel.grpc_answers import status_json
from edge.channel.grpc_fields import to_headers
from edge.errors import HTTP_STATUS
from edge.model import InvokeRequest, InvokeResponse
from edge.rpc.pb import common_pb2, internals_pb2, status_pb2
from edge.rpc.status import RpcError

GRPC_TYPE = "application/grpc"
FIRST_HTTP = 100
PIECE = 64 << 10
NOT_UTF8 = "error sending message: rpc error: code = Internal desc = grpc: error while marshaling: string field contains invalid UTF-8"

Fields = Iterable[tuple[str, str]]


def request_message(request: InvokeRequest) -> Any:
    """InternalInvokeRequest without the data. A verb that the enum lacks is POST, "" is none at all (gRPC).

    Raises AppUnavailable: a path or header that is no UTF-8, which protobuf can't carry.
    """
    try:
        return _request_message(request)
    except UnicodeEncodeError:
        raise AppUnavailable(NOT_UTF8) from None


def _request_message(request: InvokeRequest) -> Any:
    known = request.method in common_pb2.HTTPExtension.Verb.keys()
    verb = request.method if known else "POST"
    extension = common_pb2.HTTPExtension(verb=verb, querystring=request.query) if request.method else None
    message = common_pb2.InvokeRequest(method=request.path, content_type=request.content_type or "", http_extension=extension)
    message.data.type_url = request.type_url
    made = internals_pb2.InternalInvokeRequest(ver=internals_pb2.V1, message=message)
    headers = [field for field in request.headers if field[0] != "transfer-encoding"]
    if request.grpc:
        headers.append(("content-type", GRPC_TYPE))
    for name, value in headers:
        made.metadata[name if request.grpc or name.startswith(":") else canonical(name)].values.append(value)
    return made


def to_request(message: Any) -> InvokeRequest:
    """The call that an InternalInvokeRequest asks for, with the data that is in it."""
    invoke = message.message
    headers = _headers(message.metadata)
    content_types = [value for name, value in headers if name == "content-type"]
    grpc = bool(content_types) and content_types[0].startswith(GRPC_TYPE)
    if grpc:
        headers = [field for field in headers if field[0] != "content-type"]
    verb = common_pb2.HTTPExtension.Verb.Name(invoke.http_extension.verb) if invoke.HasField("http_extension") else ""
    return InvokeRequest(
        verb,
        invoke.method,
        invoke.http_extension.querystring,
        headers,
        invoke.data.value,
        invoke.content_type or None,
        grpc=grpc,
        type_url=invoke.data.type_url,
    )


def response_message(answer: InvokeResponse) -> Any:
    """InternalInvokeResponse without the data; an HTTP app's status is > 99, a gRPC app's is its code."""
    made = internals_pb2.InternalInvokeResponse()
    if answer.grpc_status is None:
        made.status.code = answer.status
    else:
        made.status.code, made.status.message = answer.grpc_status
        if answer.grpc_details:
            made.status.details.extend(status_pb2.Status.FromString(answer.grpc_details).details)
        _fill(made.trailers, answer.trailers, lower=True)
    headers = [field for field in answer.headers if field[0].lower() not in HOP_BY_HOP and field[0].lower() != "content-length"]
    _fill(made.headers, headers, lower=answer.grpc_status is not None)
    made.message.content_type = answer.content_type or ""
    made.message.data.type_url = answer.type_url
    return made


def to_response(message: Any, *, grpc: bool) -> InvokeResponse:
    """The answer in an InternalInvokeResponse, with the data that is in it. grpc: the caller wants metadata, else HTTP headers."""
    invoke, status = message.message, message.status
    content_type, body = invoke.content_type or None, invoke.data.value
    headers = _headers(message.headers)
    if status.code >= FIRST_HTTP:
        return InvokeResponse(status.code, headers, body, content_type)
    found = InvokeResponse(HTTP_STATUS.get(status.code, 500), headers if grpc else to_headers(headers), body, content_type)
    found.grpc_status, found.trailers, found.type_url = (status.code, status.message), _headers(message.trailers), invoke.data.type_url
    if status.code:
        details = status_pb2.Status(code=status.code, message=status.message, details=status.details)
        found.grpc_details = details.SerializeToString() if status.details else b""
        found.body = status_json(RpcError(status.code, status.message, found.grpc_details))
        found.content_type = "text/plain; charset=utf-8"
    return found


def _fill(target: Any, headers: Fields, *, lower: bool) -> None:
    for name, value in headers:
        key = name.lower() if lower or name.startswith(":") else canonical(name)
        target[key].values.append(value.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def _headers(found: Any) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, values in found.items() for value in values.values]


async def pieces(body: bytes | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body as chunks of a stream, each at most PIECE bytes."""
    if isinstance(body, bytes):
        for at in range(0, len(body), PIECE):
            yield body[at : at + PIECE]
        return
    async for piece in body:
        for at in range(0, len(piece), PIECE):
            yield piece[at : at + PIECE]
