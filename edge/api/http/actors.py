"""Actor routes (http-api.md §8): methods, state, reminders, timers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from edge import errors, gojson, gostruct
from edge.actor import REENTRANCY_HEADER, ActorCall
from edge.api.http import answers, policy
from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.blocks.actors.reminders import ReminderRequest
from edge.blocks.actors.service import ActorService, reject_reserved
from edge.blocks.actors.state import StateOperation
from edge.blocks.actors.timers import TimerRequest
from edge.errors import EdgeError
from edge.gofloat import decode_marked
from edge.gojson import encode
from edge.goscanner import JsonError
from edge.gostruct import Struct
from edge.http1.messages import BodyTooLarge, Response

TRACE = frozenset(("traceparent", "tracestate", "content-type"))
OWN = frozenset(("date", "content-length"))
UPSERT_MAP = {"Key": str, "Value": object, "ETag": str, "Metadata": dict}
DELETE_MAP = {"Key": str, "ETag": str}
NAMED = {"Name": gostruct.text, "ActorType": gostruct.text, "ActorID": gostruct.text}  # read, then overwritten by the path's
TIMES = {"dueTime": gostruct.text, "period": gostruct.text, "ttl": gostruct.text}


def _policy(value: Any, place: str) -> Any:
    if type(value) is not dict:
        raise gostruct.wrong(value, "common.JobFailurePolicy", ".failure_policy")
    return value


REMINDER = Struct(
    'struct { Data json.RawMessage "json:\\"data\\""; FailurePolicy *common.JobFailurePolicy "json:\\"failure_policy,omitempty\\"";'
    " *api.createReminderAlias }",
    {**NAMED, **TIMES, "overwrite": gostruct.boolean, "failure_policy": _policy},
    ".createReminderAlias",
)
TIMER = Struct(
    'struct { Data json.RawMessage "json:\\"data\\""; *api.createTimerAlias }',
    {**NAMED, **TIMES, "callback": gostruct.text},
    ".createTimerAlias",
)


def _operation(value: Any, place: str) -> str:
    if type(value) is not str:
        raise gostruct.wrong(value, "api.OperationType", place)
    return value


OPERATION = Struct("api.TransactionalOperation", {"operation": _operation, "request": gostruct.anything})
OPERATIONS = gostruct.list_of(OPERATION, OPERATION.type_)


def _actors(call: Call) -> ActorService:
    service: ActorService = call.blocks.actors
    return service


# --- methods
async def invoke(call: Call) -> Response:
    """The app's answer with its headers; whatever the verb here, the app gets PUT."""
    try:
        body = await call.body()
    except BodyTooLarge as error:
        raise EdgeError(errors.BAD_REQUEST, error=error) from None
    given = call.request.headers
    headers = [item for item in given if item[0] not in TRACE]
    headers += [(name, value) for name, value in (("traceparent", call.trace.traceparent), ("tracestate", call.trace.tracestate)) if value]
    type_, id_, method = call.params
    reentrancy = given.get(REENTRANCY_HEADER, "")
    actor_call = ActorCall(type_, id_, method, body, call.query, tuple(headers), given.get("content-type") or None, reentrancy)
    answer = await _actors(call).invoke(call.app, actor_call)
    headers = [item for item in answer.headers if item[0] not in OWN]
    if all(name != "content-type" for name, _ in headers):
        headers.append(("content-type", "application/json"))
    return Response(200, headers, answer.body)


# --- state
async def get_state(call: Call) -> Response:
    item = await _actors(call).get_state(call.app, *call.params)
    if item is None:
        return Response(204)
    return answers.data(item.data, answers.metadata_headers(item.metadata))


async def transact(call: Call) -> Response:
    type_, id_ = call.params
    reject_reserved(type_)
    try:
        value = decode_marked(await call.body())
        requests = [] if value is None else OPERATIONS(value, "")
    except (JsonError, BodyTooLarge) as error:
        raise EdgeError(errors.MALFORMED_REQUEST, error=error) from None
    await _actors(call).transact(call.app, type_, id_, _operations(requests))
    return Response(204)


def _operations(requests: list[dict[str, Any]]) -> Iterator[StateOperation]:
    """The inner requests, read as mapstructure does. Raises ValueError."""
    for request in requests:
        operation, inner = request.get("operation", ""), request.get("request")
        if inner is None:
            raise ValueError("request data is empty")
        if not operation:
            raise ValueError("operation is empty")
        if operation not in ("upsert", "delete"):
            yield StateOperation(operation, "")
            continue
        fields = gostruct.from_map(inner, UPSERT_MAP if operation == "upsert" else DELETE_MAP)
        value = encode(fields.get("Value")) if operation == "upsert" else b""
        yield StateOperation(operation, fields.get("Key", ""), value, True, fields.get("ETag"), fields.get("Metadata", {}))


# --- reminders, timers
async def _fields(call: Call, struct: Struct) -> tuple[dict[str, Any], bytes | None]:
    """The request's fields and its `data` as compact JSON text (None: not given; null is given). Raises MALFORMED_REQUEST."""
    try:
        text = await call.body()
        fields = struct(gojson.parse(text, stream=True))
    except (JsonError, BodyTooLarge) as error:
        raise EdgeError(errors.MALFORMED_REQUEST, error=error) from None
    data = gojson.member(text, "data")
    return fields, None if data is None else gojson.compact(data.decode("utf-8", "replace").encode())


async def set_reminder(call: Call) -> Response:
    type_, id_, name = call.params
    reject_reserved(type_)
    fields, data = await _fields(call, REMINDER)
    request = ReminderRequest(
        type_,
        id_,
        name,
        fields.get("dueTime", ""),
        fields.get("period", ""),
        fields.get("ttl", ""),
        data,
        fields.get("overwrite", True),
        policy.of_reminder(fields.get("failure_policy")),
    )
    await _actors(call).set_reminder(call.app, request)
    return Response(204)


async def get_reminder(call: Call) -> Response:
    reminder = await _actors(call).get_reminder(call.app, *call.params)
    body: dict[str, Any] = {"actorID": reminder.id, "actorType": reminder.type}
    if reminder.data is not None:
        body["data"] = orjson.Fragment(reminder.data)
    if reminder.due_time:
        body["dueTime"] = reminder.due_time
    if reminder.period:
        body["period"] = reminder.period
    if reminder.ttl:
        body["ttl"] = reminder.ttl
    return answers.json(body)


async def delete_reminder(call: Call) -> Response:
    await _actors(call).delete_reminder(call.app, *call.params)
    return Response(204)


async def set_timer(call: Call) -> Response:
    type_, id_, name = call.params
    reject_reserved(type_)
    fields, data = await _fields(call, TIMER)
    times = (fields.get("dueTime", ""), fields.get("period", ""), fields.get("ttl", ""))
    await _actors(call).set_timer(call.app, TimerRequest(type_, id_, name, *times, fields.get("callback", ""), data))
    return Response(204)


async def delete_timer(call: Call) -> Response:
    await _actors(call).delete_timer(call.app, *call.params)
    return Response(204)


BASE = "/v1.0/actors/{type}/{id}"
ROUTES = [
    Route(("POST", "PUT"), f"{BASE}/state", transact, "actors", "ExecuteActorStateTransaction"),
    Route(("GET",), f"{BASE}/state/{{key}}", get_state, "actors", "GetActorState"),
    Route(("GET", "POST", "PUT", "DELETE"), f"{BASE}/method/{{method}}", invoke, "actors", "InvokeActor"),
    Route(("POST", "PUT"), f"{BASE}/reminders/{{name}}", set_reminder, "actors", "RegisterActorReminder"),
    Route(("GET",), f"{BASE}/reminders/{{name}}", get_reminder, "actors", "GetActorReminder"),
    Route(("DELETE",), f"{BASE}/reminders/{{name}}", delete_reminder, "actors", "UnregisterActorReminder"),
    Route(("POST", "PUT"), f"{BASE}/timers/{{name}}", set_timer, "actors", "RegisterActorTimer"),
    Route(("DELETE",), f"{BASE}/timers/{{name}}", delete_timer, "actors", "UnregisterActorTimer"),
]
