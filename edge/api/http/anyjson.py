"""A google.protobuf.Any as protojson writes it; imported when a job that was made over gRPC is read over HTTP."""

from __future__ import annotations

from google.protobuf import any_pb2, duration_pb2, empty_pb2, json_format, struct_pb2, timestamp_pb2, wrappers_pb2

from edge import errors
from edge.errors import EdgeError
from edge.model import JobData

KNOWN = (duration_pb2, empty_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)  # importing them makes their types known


def any_json(data: JobData) -> bytes:
    """The JSON text. Raises EdgeError INTERNAL with Go's words."""
    if not data.type_url:
        raise _unwritable("type_url is not set")
    message = any_pb2.Any(type_url=data.type_url, value=data.value)
    try:
        return json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode()
    except (TypeError, json_format.SerializeToJsonError):
        raise _unwritable(f'unable to resolve "{data.type_url}": not found') from None


def _unwritable(problem: str) -> EdgeError:
    return EdgeError(errors.INTERNAL, error=f"failed to encode response as JSON: proto: google.protobuf.Any: {problem}")
