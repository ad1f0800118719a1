"""`TaskHubSidecarService`: the durabletask protocol that the workflow SDKs speak. Statuses and texts as recorded from daprd 1.18.3."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

from edge.api.grpc.call import Call, RpcError, Streaming, Unary
from edge.blocks.workflow import wire
from edge.blocks.workflow.access import PurgeDenied
from edge.blocks.workflow.manager import AlreadyActive, BadId, Manager, NoSuchInstance, NotBegun, NotEnded, check_id
from edge.blocks.workflow.rerun import BadRerun, NoSuchEvent, Rerun
from edge.errors import Grpc
from edge.rpc.pb import empty_pb2
from edge.rpc.pb import orchestrator_service_pb2 as service

DEFAULT_PAGE = 1024


def manager(call: Call) -> Manager:
    found: Manager = call.blocks.workflow.manager
    return found


LAST = 253402300799  # the end of the year 9999, the last moment that a text of RFC 3339 has


def _text(message: Any, field: str) -> str | None:
    return wire.value_of(message, field)


async def hello(call: Call, request: Any) -> Any:
    return empty_pb2.Empty()


async def start_instance(call: Call, request: Any) -> Any:
    """Returns when the first turn is committed; with a start time at once."""
    instance_id = request.instanceId
    try:
        check_id(instance_id)
    except BadId as error:
        raise RpcError(Grpc.UNKNOWN, f"failed to create workflow instance: {error}") from error
    fields = {"input": request.input} if request.HasField("input") else {}
    if request.HasField("parentTraceContext"):
        fields |= _trace(request.parentTraceContext)
    start = request.scheduledStartTimestamp if request.HasField("scheduledStartTimestamp") else None
    if start is not None and start.seconds > LAST:
        text = "rpc error: code = Unknown desc = job failed validation: due time format not recognized"
        raise RpcError(Grpc.UNKNOWN, f"failed to create workflow instance: {text}")
    try:
        await manager(call).start(call.app.id, instance_id, request.name, start=start, **fields)
    except AlreadyActive as error:
        raise RpcError(
            Grpc.ALREADY_EXISTS, f"failed to create workflow instance: rpc error: code = AlreadyExists desc = {error}"
        ) from error
    if start is None:
        await manager(call).wait_started(call.app.id, instance_id)
    return service.CreateInstanceResponse(instanceId=instance_id)


def _trace(given: Any) -> dict[str, Any]:
    """The caller's trace context for the first event; its span is the workflow's."""
    context = type(given)()
    context.CopyFrom(given)
    context.spanID = ""
    parts = given.traceParent.split("-")
    span = given.spanID or (parts[2] if len(parts) > 2 else "")
    return {"parentTraceContext": context} | ({"workflowSpanID": wire.text(span)} if span else {})


async def get_instance(call: Call, request: Any) -> Any:
    return await _instance(call, request)


async def _instance(call: Call, request: Any) -> Any:
    state = await manager(call).state(call.app.id, request.instanceId, request.getInputsAndOutputs)
    if state is None:
        return service.GetInstanceResponse(exists=False)
    return service.GetInstanceResponse(exists=True, workflowState=state)


async def wait_started(call: Call, request: Any) -> Any:
    await manager(call).wait_started(call.app.id, request.instanceId)
    return await _waited(call, request)


async def wait_completed(call: Call, request: Any) -> Any:
    await manager(call).wait_ended(call.app.id, request.instanceId)
    return await _waited(call, request)


async def _waited(call: Call, request: Any) -> Any:
    """The state, and as daprd the parent's id with it, which GetInstance leaves out."""
    answer = await _instance(call, request)
    head = await manager(call).head(call.app.id, request.instanceId)
    if head is not None and head.parent_id is not None:
        answer.workflowState.parentInstanceId.value = head.parent_id
        answer.workflowState.parentAppId.value = head.parent_app or ""
    return answer


async def raise_event(call: Call, request: Any) -> Any:
    try:
        await manager(call).raise_event(call.app.id, request.instanceId, request.name, _text(request, "input"))
    except NoSuchInstance as error:
        raise RpcError(Grpc.UNKNOWN, str(error)) from error
    return service.RaiseEventResponse()


async def terminate(call: Call, request: Any) -> Any:
    try:
        await manager(call).terminate(call.app.id, request.instanceId, _text(request, "output"), request.recursive, wait=True)
    except NoSuchInstance as error:
        raise RpcError(Grpc.UNKNOWN, f"failed to submit termination request: {error}") from error
    return service.TerminateResponse()


async def suspend(call: Call, request: Any) -> Any:
    try:
        await manager(call).suspend(call.app.id, request.instanceId, _text(request, "reason") or None, wait=True)
    except NoSuchInstance as error:
        raise RpcError(Grpc.UNKNOWN, str(error)) from error
    return service.SuspendResponse()


async def resume(call: Call, request: Any) -> Any:
    try:
        await manager(call).resume(call.app.id, request.instanceId, _text(request, "reason") or None, wait=True)
    except NoSuchInstance as error:
        raise RpcError(Grpc.UNKNOWN, str(error)) from error
    return service.ResumeResponse()


async def purge(call: Call, request: Any) -> Any:
    if request.WhichOneof("request") is None:
        raise RpcError(Grpc.UNKNOWN, f"failed to purge workflow state: {NoSuchInstance()}")
    if request.WhichOneof("request") != "instanceId":
        raise RpcError(Grpc.UNKNOWN, "multi-instance purge is not unimplemented")
    force = request.force if request.HasField("force") else False
    try:
        count = await manager(call).purge(call.app.id, request.instanceId, request.recursive, force)
    except PurgeDenied as error:
        raise RpcError(Grpc.PERMISSION_DENIED, f"failed to purge workflow state: {error}") from error
    except (NotBegun, NotEnded) as error:
        raise RpcError(Grpc.UNKNOWN, f"failed to purge workflow state: {error}") from error
    except NoSuchInstance as error:
        why = f"failed to fetch workflow state: {error}" if request.recursive else error
        raise RpcError(Grpc.UNKNOWN, f"failed to purge workflow state: {why}") from error
    return service.PurgeInstancesResponse(deletedInstanceCount=count)


def _signed(number: int) -> int:
    return number - (1 << 32) if number >> 31 else number


async def rerun(call: Call, request: Any) -> Any:
    new_id = request.newInstanceID if request.HasField("newInstanceID") else str(uuid.uuid4())
    source, event = request.sourceInstanceID, _signed(request.eventID)
    child = request.newChildWorkflowInstanceID if request.HasField("newChildWorkflowInstanceID") else None
    wanted = Rerun(source, new_id, event, request.overwriteInput, _text(request, "input"), child)
    try:
        await manager(call).rerun(call.app.id, wanted)
    except NoSuchInstance as error:
        raise RpcError(Grpc.NOT_FOUND, f"workflow instance does not exist with ID '{source}'") from error
    except NoSuchEvent as error:
        raise RpcError(Grpc.NOT_FOUND, str(error)) from error
    except AlreadyActive as error:
        raise RpcError(Grpc.ALREADY_EXISTS, str(error)) from error
    except BadId as error:
        raise RpcError(Grpc.UNKNOWN, f"failed to start workflow again: {error}") from error
    except BadRerun as error:
        raise RpcError(Grpc.INVALID_ARGUMENT, str(error)) from error
    return service.RerunWorkflowFromEventResponse(newInstanceID=new_id)


async def list_instances(call: Call, request: Any) -> Any:
    size = request.pageSize if request.HasField("pageSize") and request.pageSize else DEFAULT_PAGE
    token = request.continuationToken if request.HasField("continuationToken") else ""
    ids, next_token = await manager(call).listing(call.app.id, token, size)
    answer = service.ListInstanceIDsResponse(instanceIds=ids)
    if next_token:
        answer.continuationToken = next_token
    return answer


async def get_history(call: Call, request: Any) -> Any:
    try:
        events = await manager(call).history(call.app.id, request.instanceId)
    except NoSuchInstance as error:
        raise RpcError(Grpc.NOT_FOUND, f"workflow instance '{request.instanceId}' not found") from error
    return service.GetInstanceHistoryResponse(events=events)


async def complete_workflow(call: Call, request: Any) -> Any:
    await manager(call).engine.complete_turn(call.app.id, request)
    return service.CompleteTaskResponse()


async def complete_activity(call: Call, request: Any) -> Any:
    await manager(call).engine.complete_activity(call.app.id, request)
    return service.CompleteTaskResponse()


async def get_work_items(call: Call, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The worker's stream: its capabilities are read and ignored, the whole history is always sent."""
    async for _ in requests:
        break
    async for item in manager(call).engine.work_items(call.app.id):
        yield item


RPCS: dict[str, tuple[type, Unary]] = {
    "Hello": (empty_pb2.Empty, hello),
    "StartInstance": (service.CreateInstanceRequest, start_instance),
    "GetInstance": (service.GetInstanceRequest, get_instance),
    "WaitForInstanceStart": (service.GetInstanceRequest, wait_started),
    "WaitForInstanceCompletion": (service.GetInstanceRequest, wait_completed),
    "RaiseEvent": (service.RaiseEventRequest, raise_event),
    "TerminateInstance": (service.TerminateRequest, terminate),
    "SuspendInstance": (service.SuspendRequest, suspend),
    "ResumeInstance": (service.ResumeRequest, resume),
    "PurgeInstances": (service.PurgeInstancesRequest, purge),
    "RerunWorkflowFromEvent": (service.RerunWorkflowFromEventRequest, rerun),
    "ListInstanceIDs": (service.ListInstanceIDsRequest, list_instances),
    "GetInstanceHistory": (service.GetInstanceHistoryRequest, get_history),
    "CompleteWorkflowTask": (service.WorkflowResponse, complete_workflow),
    "CompleteOrchestratorTask": (service.WorkflowResponse, complete_workflow),
    "CompleteActivityTask": (service.ActivityResponse, complete_activity),
}
STREAMS: dict[str, tuple[type, Streaming]] = {"GetWorkItems": (service.GetWorkItemsRequest, get_work_items)}
