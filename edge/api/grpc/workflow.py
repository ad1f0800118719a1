"""The `…WorkflowBeta1` and `…WorkflowAlpha1` RPCs of the Dapr service."""

from __future__ import annotations

from typing import Any

from edge.api.grpc.call import Call, Unary
from edge.rpc.pb import empty_pb2, workflow_pb2
from edge.rpc.pb.timestamp_pb2 import Timestamp

START_TIME = "dapr.workflow.start_time"


async def start(call: Call, request: Any) -> Any:
    started = await call.blocks.workflow.start(
        call.app, request.workflow_name, request.instance_id, request.input, dict(request.options).get(START_TIME)
    )
    return workflow_pb2.StartWorkflowResponse(instance_id=started)


async def get(call: Call, request: Any) -> Any:
    """An unknown instance is OK with only its id, unlike over HTTP."""
    info = await call.blocks.workflow.get(call.app, request.instance_id)
    if info is None:
        return workflow_pb2.GetWorkflowResponse(instance_id=request.instance_id)
    return workflow_pb2.GetWorkflowResponse(
        instance_id=info.id,
        workflow_name=info.name,
        created_at=Timestamp(seconds=info.created[0], nanos=info.created[1]),
        last_updated_at=Timestamp(seconds=info.updated[0], nanos=info.updated[1]),
        runtime_status=info.status,
        properties=info.properties,
    )


async def purge(call: Call, request: Any) -> Any:
    await call.blocks.workflow.purge(call.app, request.instance_id)
    return empty_pb2.Empty()


async def terminate(call: Call, request: Any) -> Any:
    await call.blocks.workflow.terminate(call.app, request.instance_id)
    return empty_pb2.Empty()


async def pause(call: Call, request: Any) -> Any:
    await call.blocks.workflow.pause(call.app, request.instance_id)
    return empty_pb2.Empty()


async def resume(call: Call, request: Any) -> Any:
    await call.blocks.workflow.resume(call.app, request.instance_id)
    return empty_pb2.Empty()


async def raise_event(call: Call, request: Any) -> Any:
    await call.blocks.workflow.raise_event(call.app, request.instance_id, request.event_name, request.event_data)
    return empty_pb2.Empty()


_BASE: dict[str, tuple[type, Unary]] = {
    "StartWorkflow": (workflow_pb2.StartWorkflowRequest, start),
    "GetWorkflow": (workflow_pb2.GetWorkflowRequest, get),
    "PurgeWorkflow": (workflow_pb2.PurgeWorkflowRequest, purge),
    "TerminateWorkflow": (workflow_pb2.TerminateWorkflowRequest, terminate),
    "PauseWorkflow": (workflow_pb2.PauseWorkflowRequest, pause),
    "ResumeWorkflow": (workflow_pb2.ResumeWorkflowRequest, resume),
    "RaiseEventWorkflow": (workflow_pb2.RaiseEventWorkflowRequest, raise_event),
}
RPCS: dict[str, tuple[type, Unary]] = {f"{name}{suffix}": rpc for name, rpc in _BASE.items() for suffix in ("Beta1", "Alpha1")}
