"""gRPC server reflection (v1 and v1alpha): what grpcurl asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FileDescriptor

from edge.api.grpc.call import Call, Direct
from edge.errors import Grpc
from edge.rpc.pb import dapr_pb2, health_pb2, orchestrator_service_pb2, reflection_pb2  # noqa: F401  (their files are looked up)
from edge.rpc.pb.pool import POOL
from edge.rpc.stream_call import StreamCall

SERVICES = ("TaskHubSidecarService", "dapr.proto.runtime.v1.Dapr", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection")


async def info(call: Call, wire: StreamCall) -> None:
    """Answer each question in turn."""
    async for data in wire:
        request = reflection_pb2.ServerReflectionRequest.FromString(data)
        answer = reflection_pb2.ServerReflectionResponse(valid_host=request.host, original_request=request, **_answer(request))
        await wire.send(answer.SerializeToString())


def _answer(request: Any) -> dict[str, Any]:
    kind = request.WhichOneof("message_request")
    asked = getattr(request, kind) if kind else ""
    try:
        match kind:
            case "list_services":
                return {"list_services_response": {"service": [{"name": name} for name in SERVICES]}}
            case "file_by_filename":
                return _files(POOL.FindFileByName(asked))
            case "file_containing_symbol":
                return _files(_holding(asked))
            case "all_extension_numbers_of_type":
                POOL.FindMessageTypeByName(asked)
                return {"all_extension_numbers_response": {"base_type_name": asked}}
    except KeyError:
        pass
    return {"error_response": {"error_code": Grpc.NOT_FOUND, "error_message": f"not found: {asked}"}}


def _holding(symbol: str) -> FileDescriptor:
    """The file of a service, message, enum, or of a method in a service. Raises KeyError."""
    try:
        return POOL.FindFileContainingSymbol(symbol)
    except KeyError:
        service, _, method = symbol.rpartition(".")
        file = POOL.FindFileContainingSymbol(service)
        if method not in POOL.FindServiceByName(service).methods_by_name:
            raise
        return file


def _files(file: FileDescriptor) -> dict[str, Any]:
    """The file and what it imports, each once."""
    found: dict[str, bytes] = {}
    for each in _with_imports(file):
        found.setdefault(each.name, each.serialized_pb)
    return {"file_descriptor_response": {"file_descriptor_proto": list(found.values())}}


def _with_imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    yield file
    for each in file.dependencies:
        yield from _with_imports(each)


DIRECT: dict[str, Direct] = {"ServerReflectionInfo": info}
