"""Dapr.Jobs: jobs by schedule and by date, and the callback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format

from edge.rpc.pb import jobs_pb2
from tests.grpc_client import Client
from tests.sdk.dotnet.client import METADATA
from tests.sdk.dotnet.wire import HttpClient, Kestrel


def jobs(client: HttpClient, app: Kestrel, channel: Client, *_: object) -> Iterator[tuple[str, Any]]:
    """A payload is packed in a type of the SDK's own; its bytes are the callback's body."""
    for step, job in (
        ("every", {"name": "every", "schedule": "@every 1s", "repeats": 1}),
        ("due", {"name": "due", "dueTime": "2026-01-02T03:04:05.1234567+00:00"}),
        ("dropped", {"name": "dropped", "schedule": "@every 1s", "repeats": 1, "failurePolicy": {"drop": {}}}),
        (
            "tried",
            {"name": "tried", "dueTime": "1s", "failurePolicy": {"constant": {"interval": "1s", "maxRetries": 2}}, "overwrite": True},
        ),
    ):
        overwrite = job.pop("overwrite", False)
        result = channel.raw("/dapr.proto.runtime.v1.Dapr/ScheduleJob", scheduled(job, b'{"n":"gr\xc3\xbcn"}', overwrite), METADATA)
        yield f"schedule {step}", [result.code, result.text]
        call = app.next(f"/job/{job['name']}")
        yield f"called {step}", [call.method, call.path, call.headers["Content-Type"], call.body]
    later = {
        "name": "later",
        "schedule": "0 30 4 * * *",
        "dueTime": "2099-01-02T03:04:05.1234567+01:00",
        "repeats": 3,
        "ttl": "2099-02-02T03:04:05.0000000Z",
    }
    result = channel.raw("/dapr.proto.runtime.v1.Dapr/ScheduleJob", scheduled(later, None, True), METADATA)
    yield "schedule later", [result.code, result.text]
    yield "get later", channel.call("GetJob", {"name": "later"}, METADATA).message
    again = channel.raw("/dapr.proto.runtime.v1.Dapr/ScheduleJob", scheduled(later, None, False), METADATA)
    yield "again", [again.code, again.text]
    yield "delete", channel.call("DeleteJob", {"name": "later"}, METADATA).code
    gone = channel.call("GetJob", {"name": "later"}, METADATA)
    yield "gone", [gone.code, gone.text]


def scheduled(job: dict[str, Any], payload: bytes | None, overwrite: bool) -> bytes:
    request = json_format.ParseDict({"job": job, "overwrite": overwrite}, jobs_pb2.ScheduleJobRequest())
    if payload is not None:
        request.job.data.type_url, request.job.data.value = "dapr.io/schedule/jobpayload", payload
    return request.SerializeToString()
