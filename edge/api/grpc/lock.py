"""TryLockAlpha1 and UnlockAlpha1."""

from __future__ import annotations

from typing import Any

from edge.api.grpc.call import Call, Unary
from edge.rpc.pb import lock_pb2


async def try_lock(call: Call, request: Any) -> Any:
    taken = await call.blocks.lock.try_lock(
        call.app, request.store_name, request.resource_id, request.lock_owner, request.expiry_in_seconds
    )
    return lock_pb2.TryLockResponse(success=taken)


async def unlock(call: Call, request: Any) -> Any:
    status = await call.blocks.lock.unlock(call.app, request.store_name, request.resource_id, request.lock_owner)
    return lock_pb2.UnlockResponse(status=int(status))  # type: ignore[arg-type]  # the same numbers


RPCS: dict[str, tuple[type, Unary]] = {
    "TryLockAlpha1": (lock_pb2.TryLockRequest, try_lock),
    "UnlockAlpha1": (lock_pb2.UnlockRequest, unlock),
}
