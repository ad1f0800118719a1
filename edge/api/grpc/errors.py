"""The one place where an error becomes a gRPC status with google.rpc details (grpc-api.md §2)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from edge.errors import PUBSUB_NOT_FOUND, STATE_NOT_CONFIGURED, STATE_NOT_FOUND, EdgeError, Grpc
from edge.rpc.pb import any_pb2, error_details_pb2, status_pb2
from edge.rpc.status import RpcError

log = logging.getLogger("dapr.runtime.grpc.api")
DOMAIN = "dapr.io"
LONGEST_VALUE = 63  # of an ErrorInfo metadata value that repeats a body
PLAIN = (STATE_NOT_CONFIGURED, STATE_NOT_FOUND, PUBSUB_NOT_FOUND)  # over HTTP they have metadata
PHRASES = {  # Go's words for a status where they are not Python's
    413: "Request Entity Too Large", 414: "Request URI Too Long", 416: "Requested Range Not Satisfiable", 418: "I'm a teapot",
    422: "Unprocessable Entity",
}  # fmt: skip


def render(error: Exception) -> RpcError:
    """The status of what a handler raised; what nobody foresaw is a bug: logged, INTERNAL."""
    if isinstance(error, RpcError):
        return error
    if isinstance(error, EdgeError):
        return RpcError(error.grpc, error.grpc_message, _status(error.grpc, error.grpc_message, _details(error)))
    log.error("a gRPC call failed", exc_info=error)
    return RpcError(Grpc.INTERNAL, f"internal error: {type(error).__name__}")


def from_http(status: int, body: str, code: int) -> RpcError:
    """An HTTP status as gRPC error: its reason phrase, and an ErrorInfo with number and body."""
    text = PHRASES.get(status) or (HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "")
    info = {"http.code": str(status), "http.error_message": body[:LONGEST_VALUE]}
    return RpcError(code, text, _status(code, text, [error_info(text, info)]))


def error_info(reason: str, metadata: Mapping[str, str] | None) -> Any:
    """google.rpc.ErrorInfo of the domain dapr.io."""
    return error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)


def _details(error: EdgeError) -> list[Any]:
    """Rich errors: BadRequest, ResourceInfo, Help, ErrorInfo; basic ones an ErrorInfo with the HTTP face's code; others nothing."""
    if error.code.basic:
        return [error_info(error.code.tag, error.info)]
    if not error.code.reason:
        return []
    found: list[Any] = []
    if error.violations:
        items = [{"field": item.field, "description": item.description} for item in error.violations]
        found.append(error_details_pb2.BadRequest(field_violations=items))
    if (resource := error.resource) is not None:
        description = error.message if resource.description is None else resource.description
        found.append(
            error_details_pb2.ResourceInfo(
                resource_type=resource.type, resource_name=resource.name, owner=resource.owner, description=description
            )
        )
    if error.links:
        found.append(error_details_pb2.Help(links=[{"url": link.url, "description": link.description} for link in error.links]))
    found.append(error_info(error.code.reason, None if error.code in PLAIN else error.info))
    return found


def _status(code: int, message: str, details: list[Any]) -> bytes:
    """grpc-status-details-bin; b"" where there is no detail."""
    if not details:
        return b""
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code, message=message, details=packed).SerializeToString()
