"""Two sidecars on loopback: apps behind them call each other over HTTP and gRPC, and resiliency counts what the callee saw."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.apps import Answer, ScriptedApp, Seen
from tests.grpc_app import GrpcApp
from tests.harness import Answer as Got
from tests.harness import Sidecar

SERVICE = "/jars.Jars/"
RESILIENCY = """
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: rules}
spec:
  policies:
    timeouts: {short: 1s}
    retries:
      twice: {policy: constant, duration: 10ms, maxRetries: 2, matching: {httpStatusCodes: "500-503", gRPCStatusCodes: "14"}}
    circuitBreakers:
      three: {maxRequests: 1, timeout: 60s, trip: consecutiveFailures >= 3}
  targets:
    apps:
      cellar: {retry: twice}
      attic: {retry: twice}
      kitchen: {retry: twice, timeout: short, circuitBreaker: three}
"""
QUICK = """
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: quick}
spec: {policies: {retries: {DaprBuiltInServiceRetries: {policy: constant, duration: 20ms, maxRetries: 3}}}}
"""


def names(folder: Path) -> str:
    """A Configuration with the names file that both sidecars share."""
    resolution = {"component": "sqlite", "version": "v1", "configuration": {"connectionString": str(folder / "names.db")}}
    spec = {"nameResolution": resolution}
    return json.dumps({"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "c"}, "spec": spec})


@dataclass
class Pair:
    """kitchen has the app `own`, cellar the app `app`; calls go out through kitchen."""

    kitchen: Sidecar
    cellar: Sidecar
    app: ScriptedApp
    own: ScriptedApp

    async def call(self, path: str, method: str = "POST", body: Any = b"plum", headers: Mapping[str, str] | None = None) -> Got:
        return await asyncio.to_thread(self.kitchen.call, method, path, body, headers)


@asynccontextmanager
async def pair(folder: Path, answers: Any, resources: str = "", config: str | None = "") -> AsyncIterator[Pair]:
    """config: "" = a shared names file, None = the default (mDNS)."""
    config = names(folder) if config == "" else config
    async with ScriptedApp(dict(answers)) as app, ScriptedApp({"/fails": Answer(500)}) as own:
        folders = folder / "kitchen", folder / "cellar"
        for each in folders:
            each.mkdir()
        kitchen = Sidecar(folders[0], "kitchen", own.port, resources={"r.yaml": resources} if resources else None, config=config)
        cellar = Sidecar(folders[1], "cellar", app.port, config=config)
        try:
            kitchen.spawn()
            cellar.spawn()
            for one in (kitchen, cellar):
                await asyncio.to_thread(one.wait)
            yield Pair(kitchen, cellar, app, own)
        finally:
            for one in (kitchen, cellar):
                if one.process is not None and one.process.poll() is None:
                    await asyncio.to_thread(one.kill)


@pytest.mark.parametrize("config", ["", None], ids=["names file", "mdns"])
async def test_an_app_behind_another_sidecar_is_called_as_daprd_calls_it(tmp_path: Path, config: str | None) -> None:
    answers = {"/jam": Answer(201, b"over there", (("X-Reply", "yes"), ("Content-Type", "text/plain"))), "/gone": Answer(404, b"{}")}
    async with pair(tmp_path, answers, config=config) as made:
        got = await made.call("/v1.0/invoke/cellar/method/jam?x=1", headers={"content-type": "text/plain", "x-a": "b"})
        gone = await made.call("/v1.0/invoke/cellar.default/method/gone", "GET", None)
        by_header = await made.call("/jam", "PUT", headers={"dapr-app-id": "cellar"})

    seen = made.app.on("/jam")[0]
    headers = {name: value for name, value in seen.headers}
    assert (got.status, got.body, got.headers["x-reply"], got.headers["content-type"]) == (201, b"over there", "yes", "text/plain")
    assert (seen.method, seen.target, seen.body, headers["Content-Length"], headers["X-A"]) == ("POST", "/jam?x=1", b"plum", "4", "b")
    ids = [headers[f"Dapr-{name}"] for name in ("Caller-App-Id", "Callee-App-Id", "Caller-Namespace")]
    address, host = headers["X-Forwarded-For"], headers["X-Forwarded-Host"]
    assert ids == ["kitchen", "cellar", "default"]
    assert headers["Forwarded"] == f"for={address};by={address};host={host}"
    assert (gone.status, gone.body) == (404, b"{}")
    assert (by_header.status, made.app.on("/jam")[1].method) == (201, "PUT")


async def test_what_goes_wrong_on_the_way_reads_as_daprd_s(tmp_path: Path) -> None:
    async with pair(tmp_path, {"/dead": Answer(hangup=True)}, QUICK) as made:
        unknown = await made.call("/v1.0/invoke/nobody/method/x")
        dead = await made.call("/v1.0/invoke/cellar/method/dead")
        odd = await made.call("/v1.0/invoke/a.b.c/method/x")
        bad = await made.call("/v1.0/invoke/cellar/method/a%23b")
        await asyncio.to_thread(made.cellar.kill)
        away = await made.call("/v1.0/invoke/cellar/method/x")

    texts = [one.json()["message"] for one in (unknown, dead, odd, bad, away)]
    assert {one.status for one in (unknown, dead, odd, bad, away)} == {500}
    assert texts[0] == "failed to invoke, id: nobody, err: no host found with the given ID"
    url = f"http://127.0.0.1:{made.app.port}/dead"
    assert texts[1] == f'failed to invoke, id: cellar, err: rpc error: code = Internal desc = error invoking app channel: Post "{url}": EOF'
    assert texts[2] == "failed to invoke, id: a.b.c, err: invalid app id a.b.c"
    assert "rpc error: code = InvalidArgument desc = invalid method: " in texts[3]
    tries = "failed to invoke target cellar after 3 retries. Error: rpc error: code = Unavailable desc = "
    assert texts[4].startswith(f"failed to invoke, id: cellar, err: {tries}")


async def test_an_answer_that_breaks_off_is_told_and_not_asked_for_again(tmp_path: Path) -> None:
    async with pair(tmp_path, {"/torn": Answer(torn=True), "/lost": Answer(404, b"gon", torn=True)}, QUICK) as made:
        made.own.answers |= made.app.answers
        far, near = [await made.call(f"/v1.0/invoke/{app}/method/torn") for app in ("cellar", "kitchen")]
        lost = [await made.call(f"/v1.0/invoke/{app}/method/lost") for app in ("cellar", "kitchen")]

    assert (len(made.app.on("/torn")), len(made.app.on("/lost"))) == (1, 1)
    assert (far.status, far.json()["message"]) == (500, "failed to invoke, id: cellar, err: error receiving message: unexpected EOF")
    assert (near.status, near.json()["message"]) == (500, "failed to invoke, id: kitchen, err: unexpected EOF")
    assert [(one.status, one.body) for one in lost] == [(404, b"gon")] * 2


async def test_odd_headers_pass_as_through_daprd(tmp_path: Path) -> None:
    answers = {
        "/untyped": Answer(200, b"jam", (("Content-Type", ""),)),
        "/gone": Answer(404, b"{}", (("Content-Type", ""), ("Pragma", "no-cache"))),
        "/twice": Answer(200, b"jam", (("Content-Type", "a/b"), ("Content-Type", "c/d"))),
    }
    async with pair(tmp_path, answers) as made:
        untyped, gone, twice = [await made.call(f"/v1.0/invoke/cellar/method/{name}", "GET", None) for name in ("untyped", "gone", "twice")]
        odd = {"traceparent": "odd", "pragma": "no-cache", "accept": "text/event-stream"}
        events = await made.call("/v1.0/invoke/cellar/method/gone", "GET", None, odd)
        raw = await made.call("/v1.0/invoke/cellar/method/%E9", "GET", None)

    assert [one.headers["content-type"] for one in (untyped, gone, twice)] == ["text/plain; charset=utf-8", "application/json", "a/b"]
    seen = made.app.on("/gone")[1]
    assert (seen.header("traceparent"), seen.header("cache-control"), gone.headers["cache-control"]) == ("odd", "no-cache", "no-cache")
    assert (events.status, events.headers["content-type"]) == (404, "application/json")
    assert raw.status == 500 and "string field contains invalid UTF-8" in raw.json()["message"]


async def test_where_tracing_is_off_the_own_app_is_told_of_no_trace(tmp_path: Path) -> None:
    config = json.loads(names(tmp_path))
    config["spec"]["tracing"] = {"samplingRate": "0"}
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with pair(tmp_path, {}, config=json.dumps(config)) as made:
        for headers in ({}, {"tracestate": "a=b"}, {"traceparent": parent, "tracestate": "a=b"}):
            await made.call("/v1.0/invoke/kitchen/method/jam", headers=headers)

    seen = [(one.header("traceparent"), one.header("tracestate")) for one in made.own.on("/jam")]
    assert seen == [(None, None), (None, None), (parent, "a=b")]


async def test_bodies_stream_both_ways_between_sidecars(tmp_path: Path) -> None:
    async with pair(tmp_path, {}) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.kitchen.http_port)
        held: asyncio.Queue[bytes] = asyncio.Queue()

        async def echo(seen: Seen) -> Answer:
            await held.put(seen.body)
            return Answer(200, b"x" * 300_000)

        made.app.answers["/flow"] = echo
        head = "POST /v1.0/invoke/cellar/method/flow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"3\r\nabc\r\n")
        await writer.drain()
        writer.write(b"3\r\ndef\r\n0\r\n\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        size = 0
        while size < 300_000:
            size += (await asyncio.wait_for(reader.read(65536), 10)).count(b"x")
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200")
    assert held.get_nowait() == b"abcdef"
    assert made.app.on("/flow")[0].chunks is not None


def test_a_sidecar_that_is_up_can_be_found_by_name(tmp_path: Path) -> None:
    for trial in range(5):
        folder = tmp_path / str(trial)
        folder.mkdir()
        one = Sidecar(folder, "cellar", config=names(folder))
        one.spawn()
        try:
            while not up(one):
                time.sleep(0.001)
            with closing(sqlite3.connect(folder / "names.db")) as table:
                assert [row[0] for row in table.execute("SELECT app_id FROM hosts")] == ["cellar"]
        finally:
            one.kill()


def up(one: Sidecar) -> bool:
    try:
        return one.call("GET", "/v1.0/healthz/outbound").status == 204
    except OSError:
        return False


# --- resiliency
async def test_retries_are_counted_by_the_callee(tmp_path: Path) -> None:
    answers = {
        "/busy": Answer(503, b"later"),
        "/second": [Answer(500), Answer(200, b"there")],
        "/teapot": Answer(418),
    }
    async with pair(tmp_path, answers, RESILIENCY) as made:
        busy = await made.call("/v1.0/invoke/cellar/method/busy")
        second = await made.call("/v1.0/invoke/cellar/method/second")
        teapot = await made.call("/v1.0/invoke/cellar/method/teapot")
        made.own.answers["/slow"] = [Answer(200, after=3.0), Answer(200, b"now")]
        slow = await made.call("/v1.0/invoke/kitchen/method/slow")
        tripped = await made.call("/v1.0/invoke/kitchen/method/fails")
        refused = await made.call("/v1.0/invoke/kitchen/method/fails")

    assert (busy.status, busy.body, len(made.app.on("/busy"))) == (503, b"later", 3)
    assert [seen.body for seen in made.app.on("/busy")] == [b"plum"] * 3
    assert (second.status, second.body, len(made.app.on("/second"))) == (200, b"there", 2)
    assert (teapot.status, len(made.app.on("/teapot"))) == (418, 1)
    assert (slow.status, slow.body, len(made.own.on("/slow"))) == (200, b"now", 2)
    assert (tripped.status, len(made.own.on("/fails"))) == (500, 3)
    assert refused.json()["message"] == "failed to invoke, id: kitchen, err: circuit breaker is open"


# --- endpoints
async def test_http_endpoints_and_urls_are_called_from_here(tmp_path: Path) -> None:
    async with ScriptedApp({"/base/far": Answer(200, b"far"), "/moved": Answer(302, headers=(("Location", "/base/far"),))}) as outside:
        endpoint = {
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "HTTPEndpoint",
            "metadata": {"name": "outside"},
            "spec": {"baseUrl": f"http://127.0.0.1:{outside.port}/base", "headers": [{"name": "x-key", "value": "k"}]},
        }
        async with pair(tmp_path, {}, json.dumps(endpoint)) as made:
            named = await made.call("/v1.0/invoke/outside/method/far?q=1", "GET", None, {"x-key": "mine", "x-a": "b"})
            url = await made.call(f"/v1.0/invoke/http://127.0.0.1:{outside.port}/method/base/far", "GET", None)
            moved = await made.call(f"/v1.0/invoke/http://127.0.0.1:{outside.port}/method/moved", "GET", None)
    first = outside.on("/base/far")[0]
    assert (named.status, named.body, url.body, moved.status) == (200, b"far", b"far", 302)
    assert (first.target, first.header("x-key"), first.header("x-a")) == ("/base/far?q=1", "k", "b")
    assert first.header("host") == f"127.0.0.1:{outside.port}"
    assert first.header("dapr-caller-app-id") is None


# --- gRPC
@pytest.fixture
def jars() -> Iterator[GrpcApp]:
    def both(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        context.set_trailing_metadata((("x-end", "yes"),))
        for request in requests:
            yield request.upper()

    def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
        calls.append(dict(context.invocation_metadata()))
        context.abort(grpc.StatusCode.UNAVAILABLE, "empty")

    def one(request: bytes, context: grpc.ServicerContext) -> bytes:
        calls.append(dict(context.invocation_metadata()))
        return request.upper()

    calls: list[dict[str, Any]] = []
    handlers = {
        f"{SERVICE}One": grpc.unary_unary_rpc_method_handler(one),
        f"{SERVICE}Many": grpc.unary_stream_rpc_method_handler(lambda request, _: iter([request, request])),
        f"{SERVICE}Sum": grpc.stream_unary_rpc_method_handler(lambda requests, _: b"".join(requests)),
        f"{SERVICE}Both": grpc.stream_stream_rpc_method_handler(both),
        f"{SERVICE}Fail": grpc.unary_unary_rpc_method_handler(fail),
    }
    app = GrpcApp(handlers=handlers)
    app.up()
    app.calls = calls  # type: ignore[attr-defined]
    yield app
    app.down()


def grpc_pair(folder: Path, port: int, up: ExitStack, resources: str = "") -> Sidecar:
    """kitchen, whose gRPC calls reach attic's app at `port`."""
    kitchen, attic = Sidecar(folder / "k", "kitchen"), Sidecar(folder / "a", "attic", port, flags=("--app-protocol", "grpc"))
    kitchen.resources = {"r.yaml": resources} if resources else None
    for one in (kitchen, attic):
        one.folder.mkdir()
        one.config = names(folder)
        one.spawn()
        up.callback(one.kill)
    kitchen.wait()
    attic.wait()
    return kitchen


def test_grpc_retries_are_counted_by_the_callee(tmp_path: Path, jars: GrpcApp) -> None:
    def seen(channel: grpc.Channel, *metadata: tuple[str, str]) -> tuple[Any, int]:
        jars.calls.clear()  # type: ignore[attr-defined]
        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary(f"{SERVICE}Fail")(b"", metadata=(("dapr-app-id", "attic"), *metadata), timeout=10)
        return failed.value.code(), len(jars.calls)  # type: ignore[attr-defined]

    with ExitStack() as up:
        kitchen = grpc_pair(tmp_path, jars.port, up, RESILIENCY)
        channel = up.enter_context(grpc.insecure_channel(f"127.0.0.1:{kitchen.grpc_port}"))

        tried = seen(channel)
        streamed = seen(channel, ("dapr-stream", "true"))
        answer = channel.unary_unary(f"{SERVICE}One")(b"plum", metadata=(("dapr-app-id", "attic"),), timeout=10)
        with pytest.raises(grpc.RpcError) as many:
            channel.stream_unary(f"{SERVICE}Sum")(iter([b"a", b"b"]), metadata=(("dapr-app-id", "attic"),), timeout=10)

    assert (tried, streamed) == ((grpc.StatusCode.UNAVAILABLE, 3), (grpc.StatusCode.UNAVAILABLE, 1))
    assert answer == b"PLUM"
    assert (many.value.code(), many.value.details()) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "cannot use resiliency policies with retries on streaming RPCs",
    )


def test_grpc_calls_of_all_four_kinds_pass_to_the_app_behind_another_sidecar(tmp_path: Path, jars: GrpcApp) -> None:
    with ExitStack() as up:
        kitchen = grpc_pair(tmp_path, jars.port, up)
        channel = up.enter_context(grpc.insecure_channel(f"127.0.0.1:{kitchen.grpc_port}"))
        to: Any = {"metadata": (("dapr-app-id", "attic"), ("x-a", "b")), "timeout": 10}

        single = channel.unary_unary(f"{SERVICE}One")(b"plum", **to)
        many = list(channel.unary_stream(f"{SERVICE}Many")(b"plum", **to))
        total = channel.stream_unary(f"{SERVICE}Sum")(iter([b"a", b"b", b"c"]), **to)
        both = channel.stream_stream(f"{SERVICE}Both")(iter([b"a", b"b"]), **to)
        answers = list(both)
        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary(f"{SERVICE}Fail")(b"", **to)
        with pytest.raises(grpc.RpcError) as nobody:
            channel.unary_unary(f"{SERVICE}One")(b"", metadata=(("dapr-app-id", "nobody"),), timeout=10)

    seen: dict[str, Any] = jars.calls[0]  # type: ignore[attr-defined]
    assert (single, many, total, answers) == (b"PLUM", [b"plum", b"plum"], b"abc", [b"A", b"B"])
    assert dict(both.trailing_metadata())["x-end"] == "yes"
    assert (seen["x-a"], seen["dapr-caller-app-id"], seen["dapr-callee-app-id"], seen.get("dapr-app-id")) == ("b", "kitchen", "attic", None)
    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.UNAVAILABLE, "empty")
    assert (nobody.value.code(), nobody.value.details()) == (grpc.StatusCode.UNKNOWN, "no host found with the given ID")
