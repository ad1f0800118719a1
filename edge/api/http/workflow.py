"""The workflow routes, under `/v1.0`, `/v1.0-beta1` and `/v1.0-alpha1` alike; the component's name in the path is ignored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from edge import errors, protojson
from edge.api.http import answers
from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.errors import EdgeError
from edge.gojson import encode
from edge.goscanner import JsonError
from edge.http1.messages import BodyTooLarge, Response
from edge.protojson import STRING, Message

if TYPE_CHECKING:
    from edge.blocks.workflow.service import WorkflowInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EMPTY = b"{}"
ORDER = Message({"instanceID": STRING, "instance_id": STRING, "workflowComponent": STRING})  # read, then overwritten by the path's


async def _body(call: Call) -> bytes:
    try:
        return await call.body()
    except BodyTooLarge as error:
        raise EdgeError(errors.BODY_READ, error=error) from error


async def start(call: Call) -> Response:
    """The body is the input, as text; 202 with the id."""
    started = await call.blocks.workflow.start(call.app, call.params[1], call.argument("instanceID"), await _body(call))
    return answers.data(b'{"instanceID":' + encode(started) + b"}", status=202)


async def get(call: Call) -> Response:
    instance_id = call.params[1]
    info = await call.blocks.workflow.get(call.app, instance_id)
    if info is None:
        raise EdgeError(errors.WORKFLOW_NOT_FOUND, id=instance_id)
    return answers.data(_encoded(info))


def _encoded(info: WorkflowInfo) -> bytes:
    answer: dict[str, object] = {"instanceID": info.id}
    if info.name:
        answer["workflowName"] = info.name
    answer |= {"createdAt": _time(info.created), "lastUpdatedAt": _time(info.updated), "runtimeStatus": info.status}
    if info.properties:
        answer["properties"] = dict(info.properties)
    return b"{" + b",".join(encode(key) + b":" + encode(value) for key, value in answer.items()) + b"}"


def _time(stamp: tuple[int, int]) -> str:
    """RFC 3339 as protobuf's JSON writes it: 0, 3, 6 or 9 digits of fraction."""
    seconds, nanos = stamp
    moment = (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    if not nanos:
        return f"{moment}Z"
    digits = f"{nanos:09d}"
    return f"{moment}.{digits[:3] if digits.endswith('000000') else digits[:6] if digits.endswith('000') else digits}Z"


def _order(method: str) -> Callable[[Call], Awaitable[Response]]:
    async def handler(call: Call) -> Response:
        try:
            protojson.decode(await _body(call), ORDER)
        except JsonError as error:
            raise EdgeError(errors.MALFORMED_REQUEST, error=error) from None
        await getattr(call.blocks.workflow, method)(call.app, call.params[1])
        return answers.data(EMPTY, status=202)

    handler.__name__ = method
    return handler


async def raise_event(call: Call) -> Response:
    _, instance_id, event = call.params
    await call.blocks.workflow.raise_event(call.app, instance_id, event, await _body(call))
    return answers.data(EMPTY, status=202)


def _routes(version: str) -> list[Route]:
    base = f"/{version}/workflows/{{component}}/{{instance}}"
    orders = {"terminate": "terminate", "pause": "pause", "resume": "resume", "purge": "purge"}
    return [
        Route(("POST",), f"{base}/start", start, "workflows", "StartWorkflow"),
        Route(("GET",), base, get, "workflows", "GetWorkflow"),
        *[
            Route(("POST",), f"{base}/{verb}", _order(method), "workflows", f"{verb.capitalize()}Workflow")
            for verb, method in orders.items()
        ],
        Route(("POST",), f"{base}/raiseEvent/{{event}}", raise_event, "workflows", "RaiseEventWorkflow"),
    ]


ROUTES = [route for version in ("v1.0", "v1.0-beta1", "v1.0-alpha1") for route in _routes(version)]
