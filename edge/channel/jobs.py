"""A job's data as each kind of app gets it: JSON text or raw bytes over HTTP, a google.protobuf.Any over gRPC."""

from __future__ import annotations

from typing import Any

import orjson

from edge.model import JobData

LARGEST = 1e21
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

    return orjson.dumps(_plain(json_format.MessageToDict(struct_pb2.Value.FromString(data.value))))


def _plain(value: Any) -> Any:
    """Numbers as Go writes them: a Value has floats only, and 1.0 is 1."""
    match value:
        case float() if value.is_integer() and abs(value) < LARGEST:
            return int(value)
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value


def job_any(data: JobData) -> Any:
    """The google.protobuf.Any of a job, as it was given or made of its JSON."""
    from edge.rpc.pb import any_pb2  # gRPC only

    if not data.is_json:
        return any_pb2.Any(type_url=data.type_url, value=data.value)
    from google.protobuf import json_format, struct_pb2

    value = json_format.Parse(data.value, struct_pb2.Value())
    return any_pb2.Any(type_url=data.type_url, value=value.SerializeToString())
