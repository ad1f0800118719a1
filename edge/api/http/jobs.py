"""Job routes (http-api.md §12), under `/v1.0` and `/v1.0-alpha1` alike."""

from __future__ import annotations

from typing import Any

import orjson

from edge import errors, protojson
from edge.api.http import answers, policy
from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.blocks.jobs import Job, JobService
from edge.errors import EdgeError
from edge.goscanner import JsonError
from edge.http1.messages import BodyTooLarge, Response
from edge.model import JobData
from edge.protojson import BOOL, STRING, UINT32, VALUE, Message

VALUE_TYPE = "type.googleapis.com/google.protobuf.Value"
REQUEST = Message(
    {
        "name": STRING,
        "schedule": STRING,
        "repeats": UINT32,
        "dueTime": STRING,
        "ttl": STRING,
        "data": VALUE,
        "overwrite": BOOL,
        "failurePolicy": policy.POLICY,
    }
)


def _jobs(call: Call) -> JobService:
    service: JobService = call.blocks.jobs
    return service


async def schedule(call: Call) -> Response:
    try:
        fields = protojson.decode(await call.body(), REQUEST)
    except BodyTooLarge as error:
        raise EdgeError(errors.BODY_READ, error=error) from None
    except JsonError as error:
        raise EdgeError(errors.MALFORMED_REQUEST, error=error) from None
    if fields.get("name"):
        raise EdgeError(errors.JOB_NAME_IN_BODY, info={"appID": call.app.id})
    job = Job(
        call.params[0].strip(),
        fields.get("schedule"),
        fields.get("dueTime"),
        fields.get("repeats"),
        fields.get("ttl"),
        JobData(VALUE_TYPE, protojson.encode_value(fields["data"]), is_json=True) if "data" in fields else None,
        policy.from_fields(fields.get("failurePolicy")),
    )
    await _jobs(call).schedule(call.app, job, overwrite=fields.get("overwrite", False))
    return Response(204)


async def get(call: Call) -> Response:
    job = await _jobs(call).get(call.app, call.params[0])
    body: dict[str, Any] = {"name": job.name}
    given = {"schedule": job.schedule, "repeats": job.repeats, "dueTime": job.due_time, "ttl": job.ttl}
    body |= {name: value for name, value in given.items() if value is not None}
    if job.data is not None:
        body["data"] = orjson.Fragment(_any(job.data))
    if job.policy is not None:
        body["failurePolicy"] = policy.to_json(job.policy)
    return answers.data(orjson.dumps(body))


def _any(data: JobData) -> bytes:
    """A google.protobuf.Any as JSON. Raises INTERNAL for a type that this side does not know."""
    if data.is_json:
        return b'{"@type":"%b","value":%b}' % (VALUE_TYPE.encode(), data.value)
    from edge.api.http.anyjson import any_json  # protobuf, for what came over gRPC

    return any_json(data)


async def delete(call: Call) -> Response:
    await _jobs(call).delete(call.app, call.params[0])
    return Response(204)


ROUTES = [
    route
    for version in ("v1.0", "v1.0-alpha1")
    for route in (
        Route(("POST",), f"/{version}/jobs/{{name}}", schedule, "jobs", "ScheduleJob"),
        Route(("GET",), f"/{version}/jobs/{{name}}", get, "jobs", "GetJob"),
        Route(("DELETE",), f"/{version}/jobs/{{name}}", delete, "jobs", "DeleteJob"),
    )
]
