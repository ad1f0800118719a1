"""Callers that mean no good: floods, bodies that stall, too many connections, and lines that would become headers elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from edge.rpc.pb import actors_pb2, binding_pb2, common_pb2, invoke_pb2, jobs_pb2, pubsub_pb2
from tests.apps import Answer, ScriptedApp
from tests.cli.edged import until
from tests.harness import EDGED, Sidecar, component, sidecar

GET = b"GET /v1.0/metadata HTTP/1.1\r\nHost: a\r\n\r\n"
GREW_KIB = 24 << 10


@pytest.fixture(scope="module")
def edged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    with sidecar(tmp_path_factory.mktemp("edged")) as one:
        one.call("GET", "/v1.0/metadata")
        yield one


def resident(edged: Sidecar) -> int:
    """KiB."""
    assert edged.process is not None
    lines = Path(f"/proc/{edged.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def connect(edged: Sidecar) -> socket.socket:
    return socket.create_connection(("127.0.0.1", edged.http_port), timeout=10)


def test_a_flood_of_pipelined_requests_stops_neither_others_nor_the_memory(edged: Sidecar) -> None:
    before = resident(edged)
    with ExitStack() as up:
        flood = [up.enter_context(connect(edged)) for _ in range(12)]
        for one in flood:
            one.setblocking(False)
        end = time.monotonic() + 0.7
        while time.monotonic() < end:
            for one in flood:
                try:
                    one.send(GET * 500)
                except BlockingIOError:
                    continue

        assert edged.call("GET", "/v1.0/healthz", timeout=20).status == 204
        assert resident(edged) - before < GREW_KIB


def test_bodies_that_stall_hold_little_and_stop_nobody(edged: Sidecar) -> None:
    before = resident(edged)
    with ExitStack() as up:
        for size in [1000] * 150 + [400_000] * 10:
            one = up.enter_context(connect(edged))
            one.sendall(b"POST /v1.0/publish/pubsub/t HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n" + b"x" * size)

        assert edged.call("GET", "/v1.0/healthz", timeout=20).status == 204
        assert resident(edged) - before < GREW_KIB


def test_with_no_descriptor_left_it_says_so_once_and_recovers(tmp_path: Path) -> None:
    with sidecar(tmp_path, program=("sh", "-c", 'ulimit -n 80; exec "$@"', "sh", *EDGED, "run")) as edged:
        with ExitStack() as up:
            there = [up.enter_context(connect(edged)) for _ in range(120)]
            until(lambda: "no descriptor is left of 80" in edged.log(), what="the line")
            there[0].sendall(GET)
            assert there[0].recv(15) == b"HTTP/1.1 200 OK"
        assert edged.call("GET", "/v1.0/healthz", timeout=20).status == 204

        assert edged.log().count("no descriptor is left") == 1 and "Traceback" not in edged.log()


EVIL = "a\r\nX-Evil: 1\r\n\r\nGET /evil HTTP/1.1\r\nX-Evil: 1"
SUBSCRIBED = [{"pubsubname": "bus", "topic": "t", "route": "/in"}]


def _grpc_calls(edged: Sidecar) -> None:
    """Each may succeed or fail: what counts is what the app saw."""
    value = common_pb2.InvokeRequest(
        method="plum", content_type=EVIL, data={"value": b"x"}, http_extension={"verb": "GET", "querystring": EVIL}
    )
    evil = {EVIL: EVIL, "x-a": EVIL, "path": f"/bound {EVIL}", "cloudevent.source": EVIL, "cloudevent.type": EVIL}
    calls = {
        "InvokeService": invoke_pb2.InvokeServiceRequest(id="test", message=value),
        "InvokeBinding": binding_pb2.InvokeBindingRequest(name="out", operation="post", data=b"x", metadata=evil),
        "InvokeActor": actors_pb2.InvokeActorRequest(actor_type="bee", actor_id=EVIL, method=EVIL, data=b"x", metadata=evil),
        "PublishEvent": pubsub_pb2.PublishEventRequest(pubsub_name="bus", topic="t", data=b"x", data_content_type=EVIL, metadata=evil),
        "ScheduleJobAlpha1": jobs_pb2.ScheduleJobRequest(job={"name": EVIL, "due_time": "0s"}),
    }
    plain = invoke_pb2.InvokeServiceRequest(
        id="test", message=common_pb2.InvokeRequest(method="plum", content_type=EVIL, http_extension={"verb": "POST"})
    )
    with grpc.insecure_channel(f"127.0.0.1:{edged.grpc_port}") as channel:
        for name, message in [*calls.items(), ("InvokeService", plain)]:
            with contextlib.suppress(grpc.RpcError):
                channel.unary_unary(f"/dapr.proto.runtime.v1.Dapr/{name}")(message.SerializeToString(), timeout=20)


async def test_nothing_that_a_caller_says_becomes_a_header_or_a_request_of_the_app(tmp_path: Path) -> None:
    script = {"/dapr/subscribe": Answer.json(SUBSCRIBED), "/dapr/config": Answer.json({"entities": ["bee"]})}
    script["/jam"] = Answer(200, b"{}", [("X-Lid", "tight\rX-Evil: 1")])
    async with ScriptedApp(script, default=Answer(200, b"{}")) as app:
        resources = {
            "bus.yaml": component("bus", "pubsub.in-memory"),
            "out.yaml": component("out", "bindings.http", {"url": app.url}),
            "state.yaml": component("state", "state.in-memory", {"actorStateStore": "true"}),
        }
        edged = Sidecar(tmp_path, app_port=app.port, resources=resources)
        edged.spawn()
        try:
            await asyncio.to_thread(edged.wait)
            await asyncio.to_thread(_grpc_calls, edged)
            escaped = await asyncio.to_thread(edged.call, "GET", "/v1.0/invoke/test/method/jam%0d%0aX-Evil:%201")
            jam = await asyncio.to_thread(edged.call, "GET", "/v1.0/invoke/test/method/jam")
            await app.until(lambda: {"/plum", "/in"} <= {one.target for one in app.seen}, 20)
        finally:
            edged.kill()

    assert [one.target for one in app.seen if one.header("x-evil") or one.target.startswith("/evil")] == []
    assert not any("x-evil" in answer.headers for answer in (escaped, jam))
