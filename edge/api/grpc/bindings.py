"""InvokeBinding and the secret RPCs."""

from __future__ import annotations

from typing import Any

from edge.api.grpc.call import Call, Unary
from edge.rpc.pb import binding_pb2, secret_pb2


async def invoke_binding(call: Call, request: Any) -> Any:
    """Request metadata, the trace, and what came as gRPC metadata (first value, not overwriting) go to the component."""
    metadata = dict(request.metadata)
    for name in ("traceparent", "tracestate", "baggage"):
        if value := getattr(call, name):
            metadata.setdefault(name, value)
    for key, value in call.metadata:
        if isinstance(value, str):
            metadata.setdefault(_renamed(key), value)
    key = call.get("idempotency-key")
    result = await call.blocks.bindings.invoke(call.app, request.name, request.operation, request.data, metadata, key)
    if result is None:
        return binding_pb2.InvokeBindingResponse()
    call.headers += [(f"metadata.{key}".lower(), value) for key, value in result.metadata.items()]
    return binding_pb2.InvokeBindingResponse(data=result.data, metadata=result.metadata)


def _renamed(key: str) -> str:
    return f"dapr-{key[1:]}" if key.startswith(":") else f"dapr-{key}" if key.startswith("grpc-") else key


async def get_secret(call: Call, request: Any) -> Any:
    found = await call.blocks.secrets.get(call.app, request.store_name, request.key, dict(request.metadata))
    return secret_pb2.GetSecretResponse(data=found)


async def get_bulk_secret(call: Call, request: Any) -> Any:
    found = await call.blocks.secrets.get_all(call.app, request.store_name, dict(request.metadata))
    return secret_pb2.GetBulkSecretResponse(data={name: secret_pb2.SecretResponse(secrets=values) for name, values in found.items()})


RPCS: dict[str, tuple[type, Unary]] = {
    "InvokeBinding": (binding_pb2.InvokeBindingRequest, invoke_binding),
    "GetSecret": (secret_pb2.GetSecretRequest, get_secret),
    "GetBulkSecret": (secret_pb2.GetBulkSecretRequest, get_bulk_secret),
}
