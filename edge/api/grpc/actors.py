"""The actor RPCs, and the stream by which an app hosts actors."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from edge import errors
from edge.actor import REENTRANCY_HEADER, ActorCall
from edge.api.grpc.call import Call, RpcError, Streaming, Unary
from edge.blocks.actors.reminders import Reminder, ReminderRequest
from edge.blocks.actors.service import ActorService, reject_reserved
from edge.blocks.actors.state import StateOperation
from edge.blocks.actors.timers import TimerRequest
from edge.channel.actor_stream import ActorStream, bytes_any
from edge.durations import format_go_duration
from edge.errors import EdgeError, Grpc
from edge.mesh.policy import policy_of
from edge.rpc.pb import actors_pb2, empty_pb2

FIRST = "first message must be SubscribeActorEventsRequestInitialAlpha1"
HTTP = ("http", "https", "h2c")
API_CALL = {"dapr-api-call": "Dapr-API-Call"}  # as daprd spells it for gRPC callers


def _actors(call: Call) -> ActorService:
    service: ActorService = call.blocks.actors
    return service


def _data(data: bytes) -> bytes | None:
    """Bytes are kept as a JSON string of their base64."""
    return b'"%b"' % base64.b64encode(data) if data else None


# --- methods, state
async def invoke(call: Call, request: Any) -> Any:
    headers = {name.lower(): value for name, value in request.metadata.items()}
    spelling = {name.lower(): name for name in request.metadata if name.lower() != REENTRANCY_HEADER} | API_CALL
    for name in ("traceparent", "tracestate"):
        if value := getattr(call, name):
            headers.setdefault(name, value)
    reentrancy = headers.get(REENTRANCY_HEADER, "")
    names = (request.actor_type, request.actor_id, request.method)
    actor_call = ActorCall(*names, request.data, headers=tuple(headers.items()), reentrancy=reentrancy, spelling=spelling)
    answer = await _actors(call).invoke(call.app, actor_call)
    return actors_pb2.InvokeActorResponse(data=answer.body if isinstance(answer.body, bytes) else b"")


async def get_state(call: Call, request: Any) -> Any:
    item = await _actors(call).get_state(call.app, request.actor_type, request.actor_id, request.key)
    if item is None:
        return actors_pb2.GetActorStateResponse()
    return actors_pb2.GetActorStateResponse(data=item.data, metadata=item.metadata)


async def transact(call: Call, request: Any) -> Any:
    reject_reserved(request.actor_type)
    for operation in request.operations:
        if operation.operationType not in ("upsert", "delete"):
            raise EdgeError(errors.STATE_OPERATION, operation=operation.operationType)
    await _actors(call).transact(call.app, request.actor_type, request.actor_id, _operations(request))
    return empty_pb2.Empty()


def _operations(request: Any) -> Iterator[StateOperation]:
    for operation in request.operations:
        yield StateOperation(operation.operationType, operation.key, operation.value.value, False, None, dict(operation.metadata))


# --- timers, reminders
async def register_timer(call: Call, request: Any) -> Any:
    times = (request.due_time, request.period, request.ttl)
    timer = TimerRequest(request.actor_type, request.actor_id, request.name, *times, request.callback, _data(request.data))
    await _actors(call).set_timer(call.app, timer)
    return empty_pb2.Empty()


async def unregister_timer(call: Call, request: Any) -> Any:
    await _actors(call).delete_timer(call.app, request.actor_type, request.actor_id, request.name)
    return empty_pb2.Empty()


async def register_reminder(call: Call, request: Any) -> Any:
    reject_reserved(request.actor_type)
    if not request.name:
        raise EdgeError(errors.BAD_REQUEST, error="reminder name cannot be empty")
    reminder = ReminderRequest(
        request.actor_type,
        request.actor_id,
        request.name,
        request.due_time,
        request.period,
        request.ttl,
        _data(request.data),
        request.overwrite if request.HasField("overwrite") else True,
        policy_of(request.failure_policy) if request.HasField("failure_policy") else None,
    )
    await _actors(call).set_reminder(call.app, reminder)
    return empty_pb2.Empty()


async def unregister_reminder(call: Call, request: Any) -> Any:
    await _actors(call).delete_reminder(call.app, request.actor_type, request.actor_id, request.name)
    return empty_pb2.Empty()


async def unregister_by_type(call: Call, request: Any) -> Any:
    await _actors(call).delete_reminders(call.app, request.actor_type, _actor_id(request))
    return actors_pb2.UnregisterActorRemindersByTypeResponse()


async def get_reminder(call: Call, request: Any) -> Any:
    reminder = await _actors(call).get_reminder(call.app, request.actor_type, request.actor_id, request.name)
    return actors_pb2.GetActorReminderResponse(**_fields(reminder))


async def list_reminders(call: Call, request: Any) -> Any:
    found = await _actors(call).list_reminders(call.app, request.actor_type, _actor_id(request))
    named = [actors_pb2.NamedActorReminder(name=one.name, reminder=actors_pb2.ActorReminder(**_fields(one))) for one in found]
    return actors_pb2.ListActorRemindersResponse(reminders=named)


def _actor_id(request: Any) -> str | None:
    return request.actor_id if request.HasField("actor_id") else None


def _fields(reminder: Reminder) -> dict[str, Any]:
    fields: dict[str, Any] = {"actor_type": reminder.type, "actor_id": reminder.id}
    if reminder.due_time:
        fields["due_time"] = reminder.due_time
    if reminder.period:
        fields["period"] = reminder.period
    if reminder.ttl:
        fields["ttl"] = reminder.ttl
    if reminder.data is not None:
        fields["data"] = bytes_any(reminder.data)
    return fields


# --- the app's stream
async def subscribe(call: Call, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The app hosts the actor types that its first message names for as long as the stream is open; the newest stream gets all calls."""
    if call.app.port and call.app.protocol in HTTP:
        raise RpcError(Grpc.FAILED_PRECONDITION, "actor callback streaming requires a gRPC app channel")
    first = await anext(requests, None)
    if first is None:
        raise RpcError(Grpc.UNKNOWN, "EOF")
    if first.WhichOneof("request_type") != "initial_request":
        raise RpcError(Grpc.INVALID_ARGUMENT, FIRST)
    stream, actors = ActorStream(), _actors(call)
    reader = asyncio.create_task(_read(requests, stream), name=f"actor stream[{call.app.id}]")
    try:
        await actors.connect(call.app, stream, _config(first.initial_request))
        yield actors_pb2.SubscribeActorEventsResponseAlpha1(initial_response={})
        async for message in stream.requests():
            yield message
    finally:
        stream.close()
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reader
        await actors.disconnect(call.app, stream)


async def _read(requests: AsyncIterator[Any], stream: ActorStream) -> None:
    try:
        async for message in requests:
            stream.answered(message)
    finally:
        stream.close()


def _config(initial: Any) -> dict[str, Any]:
    """The same form as an HTTP app's /dapr/config."""
    return {**_settings(initial), "entitiesConfig": [_settings(entry) for entry in initial.entities_config]}


def _settings(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"entities": list(message.entities)}
    for field, name in (("actor_idle_timeout", "actorIdleTimeout"), ("drain_ongoing_call_timeout", "drainOngoingCallTimeout")):
        if message.HasField(field):
            duration = getattr(message, field)
            found[name] = format_go_duration(duration.seconds + duration.nanos / 1e9)
    if message.HasField("drain_rebalanced_actors"):
        found["drainRebalancedActors"] = message.drain_rebalanced_actors
    if message.HasField("reentrancy"):
        found["reentrancy"] = {"enabled": message.reentrancy.enabled}
        if message.reentrancy.HasField("max_stack_depth"):
            found["reentrancy"]["maxStackDepth"] = message.reentrancy.max_stack_depth
    return found


RPCS: dict[str, tuple[type, Unary]] = {
    "InvokeActor": (actors_pb2.InvokeActorRequest, invoke),
    "GetActorState": (actors_pb2.GetActorStateRequest, get_state),
    "ExecuteActorStateTransaction": (actors_pb2.ExecuteActorStateTransactionRequest, transact),
    "RegisterActorTimer": (actors_pb2.RegisterActorTimerRequest, register_timer),
    "UnregisterActorTimer": (actors_pb2.UnregisterActorTimerRequest, unregister_timer),
    "RegisterActorReminder": (actors_pb2.RegisterActorReminderRequest, register_reminder),
    "UnregisterActorReminder": (actors_pb2.UnregisterActorReminderRequest, unregister_reminder),
    "UnregisterActorRemindersByType": (actors_pb2.UnregisterActorRemindersByTypeRequest, unregister_by_type),
    "GetActorReminder": (actors_pb2.GetActorReminderRequest, get_reminder),
    "ListActorReminders": (actors_pb2.ListActorRemindersRequest, list_reminders),
}
STREAMS: dict[str, tuple[type, Streaming]] = {
    "SubscribeActorEventsAlpha1": (actors_pb2.SubscribeActorEventsRequestAlpha1, subscribe),
}
