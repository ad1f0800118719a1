"""The gRPC health checking protocol; daprd has none (there the call is proxied to the app that its metadata name)."""

from __future__ import annotations

import asyncio

from edge.api.grpc.call import Call, Direct, RpcError
from edge.errors import EdgeError, Grpc
from edge.rpc.pb import health_pb2
from edge.rpc.stream_call import StreamCall

SERVICES = frozenset(("", "dapr.proto.runtime.v1.Dapr", "TaskHubSidecarService"))
WATCH_EVERY = 1.0


async def check(call: Call, wire: StreamCall) -> None:
    """SERVING once the outbound APIs work (as `/v1.0/healthz/outbound`)."""
    service = await _service(wire)
    if service not in SERVICES:
        raise RpcError(Grpc.NOT_FOUND, "unknown service")
    await wire.send(_answer(call, service))


async def watch(call: Call, wire: StreamCall) -> None:
    """The status now, and again whenever it changes."""
    service, last = await _service(wire), b"?"
    while True:
        now = _answer(call, service)
        if now != last:
            await wire.send(now)
        last = now
        await asyncio.sleep(WATCH_EVERY)


async def _service(wire: StreamCall) -> str:
    return health_pb2.HealthCheckRequest.FromString(await wire.receive() or b"").service


def _answer(call: Call, service: str) -> bytes:
    status = health_pb2.HealthCheckResponse
    if service not in SERVICES:
        return status(status=status.SERVICE_UNKNOWN).SerializeToString()
    try:
        call.blocks.health.check_outbound(call.app)
    except EdgeError:
        return status(status=status.NOT_SERVING).SerializeToString()
    return status(status=status.SERVING).SerializeToString()


DIRECT: dict[str, Direct] = {"Check": check, "Watch": watch}
