"""A job's data as each kind of app gets it: JSON text or raw bytes over HTTP, a google.protobuf.Any over gRPC."""

from __future__ import annotations

from edge.model import JobData

VALUE = "google.protobuf.Value"


def job_body(data: JobData | None) -> bytes:
    """The request body of an HTTP app: the JSON of a Value, else the bytes of the Any without the white space around them."""
    if data is None:
        return b""
    if data.is_json:
        return data.value
    if data.type_url.rpartition("/")[2] != VALUE:
        return data.value.strip()
    from google.protobuf import json_format, struct_pb2  # only for a Value that came over gRPC

    return json_format.MessageToJson(struct_pb2.Value.FromString(data.value), indent=None, ensure_ascii=False).encode()
