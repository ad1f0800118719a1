"""Spans of real calls as a real collector gets them: names, kinds, attributes and parents as daprd's."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.rpc.client import Channel, Target
from edge.rpc.pb import internals_pb2
from edge.rpc.status import decode_bin
from tests.apps import Answer, ScriptedApp, Seen
from tests.grpc_client import Client
from tests.harness import Sidecar, component, free_port, sidecar
from tests.telemetry.collectors import Collector, collector, grpc_collector

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
STORES = {"st.yaml": component("st", "state.in-memory"), "bus.yaml": component("bus", "pubsub.in-memory")}
FAST = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


def configuration(folder: Path, **tracing: Any) -> str:
    names = {"component": "sqlite", "version": "v1", "configuration": {"connectionString": str(folder / "names.db")}}
    kind = {"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "c"}}
    return json.dumps(kind | {"spec": {"nameResolution": names, "tracing": tracing}})


def over_http(told: Collector) -> dict[str, Any]:
    return {"endpointAddress": f"127.0.0.1:{told.port}", "protocol": "http", "isSecure": False, "headers": ["x-team=jars"]}


@contextmanager
def traced(folder: Path, told: Collector, rate: str = "1", **settings: Any) -> Iterator[Sidecar]:
    config = configuration(folder, samplingRate=rate, otel=over_http(told))
    with sidecar(folder / settings.get("app_id", "test"), config=config, resources=STORES, env=FAST, **settings) as one:
        yield one


def test_api_calls_are_client_spans_that_answers_name(tmp_path: Path) -> None:
    with collector() as told, traced(tmp_path, told, app_id="jar") as one:
        answer = one.call("POST", "/v1.0/state/st", [{"key": "a", "value": 1}], {"traceparent": PARENT, "tracestate": "a=b"})
        missing = one.call("GET", "/v1.0/state/no/x", headers={"dapr-shelf": "top", "dapr-api-token": "secret"})
        saved, failed = told.named("/v1.0/state/st"), told.named("/v1.0/state/no/x")

    assert answer.headers["traceparent"] == f"00-{TRACE}-{saved.span_id}-01"
    assert answer.headers["tracestate"] == "a=b"
    assert (saved.service, saved.kind, saved.trace_id, saved.parent_id, saved.error) == ("jar", "CLIENT", TRACE, SPAN, None)
    assert saved.attributes.pop("server.address") == "127.0.0.1" and saved.attributes.pop("server.port").isdecimal()
    assert saved.attributes == {
        "db.system": "state",
        "db.connection_string": "state",
        "db.statement": "POST /v1.0/state/st",
        "db.name": "st",
        "dapr.protocol": "http",
        "dapr.api": "POST /v1.0/state/st",
        "dapr.status_code": "204",
        "http.request.method": "POST",
        "url.full": "/v1.0/state/st",
    }
    assert failed.parent_id == "" and failed.error == f"Code({missing.status}): Bad Request"
    assert failed.attributes["dapr-shelf"] == "top" and "dapr-api-token" not in failed.attributes
    assert told.headers["x-team"] == "jars"


def test_events_carry_their_publishers_span_and_deliveries_have_their_own(tmp_path: Path) -> None:
    async def play() -> None:
        subscription = [{"pubsubname": "bus", "topic": "t", "route": "/t"}]
        async with ScriptedApp({"/dapr/subscribe": Answer.json(subscription), "/t": Answer.json({"status": "SUCCESS"})}) as app:
            await asyncio.to_thread(publish, app.port)
            seen.append(next(one for one in app.seen if one.target == "/t"))

    def publish(port: int) -> None:
        with collector() as told, traced(tmp_path, told, app_id="pub", app_port=port) as one:
            while not one.call("GET", "/v1.0/metadata").json().get("subscriptions"):
                time.sleep(0.02)
            one.call("POST", "/v1.0/publish/bus/t", {"n": 1}, {"traceparent": PARENT})
            spans["sent"], spans["delivered"] = told.named("/v1.0/publish/bus/t"), told.named("pubsub/t")

    seen: list[Seen] = []
    spans: dict[str, Any] = {}
    asyncio.run(play())

    sent, delivered = spans["sent"], spans["delivered"]
    assert delivered.attributes == {"messaging.system": "pubsub", "messaging.destination.name": "t"}
    assert sent.attributes["messaging.system"] == "pubsub"
    assert seen[0].json()["traceparent"] == f"00-{TRACE}-{sent.span_id}-01"
    assert (delivered.kind, delivered.trace_id, delivered.parent_id) == ("CLIENT", TRACE, sent.span_id)
    assert seen[0].header("traceparent") == f"00-{TRACE}-{delivered.span_id}-01"


def test_each_event_of_a_bulk_publish_has_a_span(tmp_path: Path) -> None:
    path = "/v1.0-alpha1/publish/bulk/bus/t"
    entries = [{"entryId": str(number), "event": "x", "contentType": "text/plain"} for number in range(2)]
    with collector() as told, traced(tmp_path, told, app_id="pub") as one:
        assert one.call("POST", path, entries, {"traceparent": PARENT}).status == 204
        whole = told.wait(lambda span: span.name == path and span.kind == "CLIENT")
        told.wait(lambda _: sum(span.kind == "PRODUCER" for span in told.spans) == 2)

    events = [span for span in told.spans if span.kind == "PRODUCER"]
    assert {(span.name, span.parent_id, span.trace_id) for span in events} == {(path, whole.span_id, TRACE)}


def test_a_call_of_another_sidecar_is_one_trace(tmp_path: Path) -> None:
    async def play() -> None:
        async with ScriptedApp({"/orders/1": Answer(200, b"plum")}, default=Answer(404)) as app:
            await asyncio.to_thread(call, app.port)
            seen.append(next(one for one in app.seen if one.target == "/orders/1"))

    def call(port: int) -> None:
        with collector() as told, traced(tmp_path, told, app_id="cellar", app_port=port), traced(tmp_path, told, app_id="kitchen") as one:
            answer = one.call("GET", "/v1.0/invoke/cellar/method/orders/1", headers={"traceparent": PARENT}, timeout=30)
            assert answer.body == b"plum"
            spans["asked"] = told.named("CallLocal/cellar/orders/1", "kitchen")
            spans["taken"] = told.named("CallLocal/cellar/orders/1", "cellar")

    seen: list[Seen] = []
    spans: dict[str, Any] = {}
    asyncio.run(play())

    asked, taken = spans["asked"], spans["taken"]
    assert (asked.kind, asked.trace_id, asked.parent_id) == ("CLIENT", TRACE, SPAN)
    assert asked.attributes["net.peer.name"] == "cellar"
    assert (taken.kind, taken.trace_id, taken.parent_id) == ("SERVER", TRACE, asked.span_id)
    assert taken.attributes["dapr.invoke_method"] == "orders/1"
    assert seen[0].header("traceparent") == f"00-{TRACE}-{taken.span_id}-01"


def test_an_actors_call_from_another_sidecar_has_a_span(tmp_path: Path) -> None:
    message = internals_pb2.InternalInvokeRequest()
    message.message.method, message.message.http_extension.verb = "go", 4
    message.actor.actor_type, message.actor.actor_id = "Gauge", "1"

    async def play() -> None:
        async with ScriptedApp({"/dapr/config": Answer.json({"entities": ["Gauge"]})}, default=Answer(200)) as app:
            await asyncio.to_thread(call, app.port)
            seen.append(next(one for one in app.seen if one.target == "/actors/Gauge/1/method/go"))

    def call(port: int) -> None:
        with collector() as told, traced(tmp_path, told, app_id="jar", app_port=port) as one, Client(one.internal_port) as client:
            path = "/dapr.proto.internals.v1.ServiceInvocation/CallActor"
            assert client.raw(path, message.SerializeToString(), [("traceparent", PARENT)], timeout=30).code == "OK"
            spans.append(told.named("CallActor/Gauge/go"))

    seen: list[Seen] = []
    spans: list[Any] = []
    asyncio.run(play())

    assert (spans[0].kind, spans[0].trace_id, spans[0].parent_id) == ("SERVER", TRACE, SPAN)
    assert spans[0].attributes["dapr.actor"] == "Gauge.1"
    assert seen[0].header("traceparent") == f"00-{TRACE}-{spans[0].span_id}-01"


def test_grpc_calls_are_spans_too(tmp_path: Path) -> None:
    with collector() as told, traced(tmp_path, told, app_id="jar") as one, Client(one.grpc_port) as client:
        good = client.call("GetState", {"storeName": "st", "key": "a"}, [("traceparent", PARENT)])
        bad = client.call("GetState", {"storeName": "no", "key": "a"})
        span = told.wait(lambda span: span.attributes.get("db.name") == "st")
        failed = told.wait(lambda span: span.attributes.get("db.name") == "no")

    assert (good.code, span.name, span.kind) == ("OK", "/dapr.proto.runtime.v1.Dapr/GetState", "CLIENT")
    assert (span.trace_id, span.parent_id, span.error) == (TRACE, SPAN, None)
    assert span.attributes["dapr.api"] == "/dapr.proto.runtime.v1.Dapr/GetState" and span.attributes["dapr.protocol"] == "grpc"
    assert failed.error == bad.text


def test_otlp_goes_over_grpc_too(tmp_path: Path) -> None:
    with grpc_collector() as told:
        otel = {
            "endpointAddress": f"127.0.0.1:{told.port}",
            "protocol": "grpc",
            "isSecure": False,
            "headers": [{"name": "X-Team", "value": "jars"}],
        }
        config = configuration(tmp_path, samplingRate="1", otel=otel)
        with sidecar(tmp_path, app_id="jar", config=config, resources=STORES, env=FAST) as one:
            one.call("GET", "/v1.0/state/st/a", headers={"traceparent": PARENT})
            span = told.named("/v1.0/state/st/a")

    assert (span.service, span.trace_id, span.parent_id, told.headers["x-team"]) == ("jar", TRACE, SPAN, "jars")


def test_a_grpc_answer_names_the_span_in_binary(tmp_path: Path) -> None:
    async def call(port: int) -> list[tuple[str, str]]:
        channel = Channel(Target("127.0.0.1", port))
        answer = await channel.unary("/dapr.proto.runtime.v1.Dapr/GetMetadata", b"", [("traceparent", PARENT)])
        await channel.close()
        return list(answer.headers)

    with sidecar(tmp_path, config=configuration(tmp_path, samplingRate="1"), resources=STORES) as one:
        fields = dict(asyncio.run(call(one.grpc_port)))  # grpcio keeps this field for itself

    binary = decode_bin(fields["grpc-trace-bin"])
    assert binary[:18] == b"\0\0" + bytes.fromhex(TRACE) and binary[27:] == b"\2\1"
    assert binary[18:19] == b"\1" and binary[19:27].hex() != SPAN


def test_zipkin_gets_json_and_stdout_lines(tmp_path: Path) -> None:
    with collector() as told:
        config = configuration(
            tmp_path, samplingRate="1", stdout=True, zipkin={"endpointAddress": f"http://127.0.0.1:{told.port}/api/v2/spans"}
        )
        with sidecar(tmp_path, app_id="jar", config=config, resources=STORES, env=FAST) as one:
            one.call("GET", "/v1.0/state/st/a", headers={"traceparent": PARENT})
            span = told.named("/v1.0/state/st/a")
            while "Trace: " not in one.log():
                time.sleep(0.02)

    assert (span.service, span.kind, span.trace_id, span.parent_id) == ("jar", "CLIENT", TRACE, SPAN)
    assert span.attributes["db.name"] == "st"
    assert re.search(rf"\[/v1.0/state/st/a\] Trace: {TRACE} Span: {SPAN}/{span.span_id} Time: ", one.log())


@pytest.mark.parametrize(("rate", "flags", "new"), [("0.5", "00", True), ("0", "00", False), ("", "00", False)])
def test_what_is_not_sampled_is_passed_on_as_daprd_does(tmp_path: Path, rate: str, flags: str, new: bool) -> None:
    parent = f"00-{TRACE}-{SPAN}-{flags}"
    with sidecar(tmp_path, config=configuration(tmp_path, samplingRate=rate), resources=STORES) as one:
        answer = one.call("GET", "/v1.0/state/st/a", headers={"traceparent": parent})

    found = answer.headers.get("traceparent")
    if rate == "0":
        assert found is None
    elif new:
        assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-{flags}", found or "") and found != parent
    else:
        assert found == parent


def test_a_collector_that_is_away_costs_a_warning_only(tmp_path: Path) -> None:
    otel = {"endpointAddress": f"127.0.0.1:{free_port()}", "protocol": "http", "isSecure": False, "timeout": "1s"}
    config = configuration(tmp_path, samplingRate="1", otel=otel)
    with sidecar(tmp_path, config=config, resources=STORES, env=FAST) as one:
        for _ in range(50):
            assert one.call("GET", "/v1.0/state/st/a").status == 204
        end = time.monotonic() + 20
        while "spans could not be sent to" not in one.log() and time.monotonic() < end:
            assert one.call("GET", "/v1.0/state/st/a").status == 204
            time.sleep(0.05)
        began = time.monotonic()
        assert one.stop() == 0

    assert one.log().count("spans could not be sent to") == 1
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("otel", "text"),
    [
        ({"endpointAddress": "127.0.0.1:4317", "protocol": "smoke"}, "invalid protocol smoke provided for Otel endpoint"),
        ({"endpointAddress": "collector", "protocol": "grpc"}, "endpointAddress 'collector' is not host:port"),
    ],
)
def test_an_exporter_that_cannot_be_stops_the_start(tmp_path: Path, otel: dict[str, str], text: str) -> None:
    one = Sidecar(tmp_path, config=configuration(tmp_path, samplingRate="1", otel=otel))

    assert one.spawn().wait(20) != 0
    assert f"spec.tracing.otel: {text}" in one.log()
