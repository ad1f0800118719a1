"""Two sidecars that reach a broker (real mosquitto) and not each other: their apps call each other all the same."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from components._mqtt import frames
from edge.rpc.pb import common_pb2, invoke_pb2
from tests.apps import Answer, ScriptedApp
from tests.faults.links import Cut, Scissors
from tests.grpc_app import GrpcApp, Reply, grpc_app
from tests.grpc_client import Client, wait_until
from tests.harness import ROOT, Sidecar
from tests.harness import Answer as Got
from tests.harness_mqtt import Broker, mosquitto, needs_mosquitto, until

pytestmark = needs_mosquitto
SUBSCRIBED = "$share/cellar/edged/invoke/requests/default/cellar (QoS 1)"
DENY = {"defaultAction": "deny", "trustDomain": "public", "policies": []}


def through(port: int, access: Any = None, **more: Any) -> str:
    """A Configuration whose names are resolved by the broker at that port."""
    configuration = {"url": f"tcp://127.0.0.1:{port}", **more}
    spec = {"nameResolution": {"component": "mqtt", "version": "v1", "configuration": configuration}}
    if access is not None:
        spec["accessControl"] = access
    return json.dumps({"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "c"}, "spec": spec})


@dataclass
class Pair:
    """kitchen calls, cellar has the app. link: what stands between kitchen and the broker, if linked."""

    kitchen: Sidecar
    cellar: Sidecar
    app: ScriptedApp
    broker: Broker
    link: Scissors

    async def call(
        self, path: str, method: str = "POST", body: Any = b"plum", headers: Mapping[str, str] | None = None, timeout: float = 20.0
    ) -> Got:
        return await asyncio.to_thread(self.kitchen.call, method, path, body, headers, timeout)


@asynccontextmanager
async def pair(
    folder: Path, answers: Any, access: Any = None, lines: tuple[str, ...] = (), *, linked: bool = False, **more: Any
) -> AsyncIterator[Pair]:
    with mosquitto(folder, *lines) as broker:
        async with ScriptedApp(dict(answers)) as app, Scissors(broker.port, []) as link:
            for name in ("kitchen", "cellar"):
                (folder / name).mkdir()
            kitchen = Sidecar(folder / "kitchen", "kitchen", config=through(link.port if linked else broker.port, **more))
            cellar = Sidecar(folder / "cellar", "cellar", app.port, config=through(broker.port, access, **more))
            try:
                kitchen.spawn()
                cellar.spawn()
                await asyncio.to_thread(kitchen.wait, "/v1.0/healthz/outbound")
                await asyncio.to_thread(cellar.wait)
                await until(lambda: SUBSCRIBED in broker.log())
                yield Pair(kitchen, cellar, app, broker, link)
            finally:
                for one in (kitchen, cellar):
                    await asyncio.to_thread(one.kill)


async def test_an_app_is_called_through_the_broker_as_if_it_were_reached(tmp_path: Path) -> None:
    answers = {"/jam": Answer(201, b"over there", (("X-Reply", "yes"), ("Content-Type", "text/plain"))), "/gone": Answer(404, b"{}")}
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with pair(tmp_path, answers) as made:
        got = await made.call("/v1.0/invoke/cellar/method/jam?x=1&y=%20", "PUT", b"\0\xff", {"x-a": "b", "traceparent": trace})
        gone = await made.call("/v1.0/invoke/cellar.default/method/gone", "GET", None)
        large = await made.call("/v1.0/invoke/cellar/method/jam", body=b"x" * 1_000_000)

    seen = made.app.on("/jam")[0]
    assert (got.status, got.body, got.headers["x-reply"], got.headers["content-type"]) == (201, b"over there", "yes", "text/plain")
    assert (seen.method, seen.target, seen.body, seen.header("x-a")) == ("PUT", "/jam?x=1&y=%20", b"\0\xff", "b")
    ids = [seen.header(f"dapr-{name}") for name in ("caller-app-id", "callee-app-id", "caller-namespace")]
    assert ids == ["kitchen", "cellar", "default"]
    assert (seen.header("traceparent") or "").startswith(trace[:35])
    assert (gone.status, gone.body, large.status, len(made.app.on("/jam")[1].body)) == (404, b"{}", 201, 1_000_000)


async def test_what_goes_wrong_reads_as_by_address(tmp_path: Path) -> None:
    async with pair(tmp_path, {"/dead": Answer(hangup=True), "/slow": Answer(after=5)}, linked=True, timeout="1s") as made:
        nobody = await made.call("/v1.0/invoke/nobody/method/x")
        other = await made.call("/v1.0/invoke/cellar.other/method/x")
        odd = await made.call("/v1.0/invoke/a%2Fb/method/x")
        dead = await made.call("/v1.0/invoke/cellar/method/dead")
        slow = await made.call("/v1.0/invoke/cellar/method/slow")
        made.link.gone = True
        made.link.cut()
        while not (told := (await made.call("/v1.0/metadata", "GET", None)).json()["extended"].get("edgedUnhealthy", "")):
            await asyncio.sleep(0.01)
        away = await made.call("/v1.0/invoke/cellar/method/x")

    answers = (nobody, other, odd, dead, slow, away)
    texts = [one.json()["message"] for one in answers]
    assert {(one.status, one.json()["errorCode"]) for one in answers} == {(500, "ERR_DIRECT_INVOKE")}
    assert texts[0].startswith("failed to invoke, id: nobody, err: couldn't find service: nobody")
    assert "couldn't find service: cellar" in texts[1] and "couldn't find service: a/b" in texts[2]
    assert "desc = error invoking app channel: Post" in texts[3]
    assert "code = DeadlineExceeded desc = no answer from edged/invoke/requests/default/cellar within 1 s" in texts[4]
    assert "failed to invoke target cellar after 3 retries. Error: rpc error: code = Unavailable" in texts[5]
    assert "nameresolution.mqtt" in json.loads(told)


async def test_a_request_that_comes_twice_is_carried_out_once(tmp_path: Path) -> None:
    async with pair(tmp_path, {"/jam": Answer(200, b"jam"), "/slow": Answer(200, b"slow", after=1.5)}, linked=True) as made:
        assert (await made.call("/v1.0/invoke/cellar/method/jam")).body == b"jam"
        cut = Cut(frames.PUBLISH, upward=True, passed=True, skip=0)  # the broker has it and cannot say so: it gets it again
        made.link.cuts += [cut]
        known = await made.call("/v1.0/invoke/cellar/method/jam")
        made.link.cuts += [replace(cut)]
        under_way = await made.call("/v1.0/invoke/cellar/method/slow")
        lines = made.broker.log().splitlines()

    brought = [line for line in lines if "PUBLISH to cellar-calls" in line and "edged/invoke/requests/default/cellar" in line]
    assert (known.body, under_way.body, len(brought)) == (b"jam", b"slow", 5)
    assert (len(made.app.on("/jam")), len(made.app.on("/slow"))) == (2, 1)


async def test_the_callee_s_access_list_decides(tmp_path: Path) -> None:
    async with pair(tmp_path, {"/jam": Answer(200)}, DENY) as made:
        got = await made.call("/v1.0/invoke/cellar/method/jam")

    assert (got.status, made.app.on("/jam")) == (403, [])
    assert "access control policy has denied access" in got.json()["message"]


async def test_an_answer_larger_than_the_broker_takes_is_told_at_once(tmp_path: Path) -> None:
    lines = ("max_packet_size 20000",)
    async with pair(tmp_path, {"/large": Answer(200, b"x" * 50_000), "/small": Answer(200, b"ok")}, lines=lines) as made:
        answer = await made.call("/v1.0/invoke/cellar/method/large")
        request = await made.call("/v1.0/invoke/cellar/method/small", body=b"x" * 50_000)
        small = await made.call("/v1.0/invoke/cellar/method/small")

    assert (answer.status, request.status, small.body) == (500, 500, b"ok")
    assert all("20000" in one.json()["message"] and "ResourceExhausted" in one.json()["message"] for one in (answer, request))


async def test_a_sidecar_that_starts_anew_answers_again(tmp_path: Path) -> None:
    async with pair(tmp_path, {"/jam": Answer(200, b"jam")}) as made:
        await asyncio.to_thread(made.cellar.stop)
        gone = await made.call("/v1.0/invoke/cellar/method/jam")
        await asyncio.to_thread(made.cellar.start, "/v1.0/healthz")
        await until(lambda: made.broker.log().count(SUBSCRIBED) == 2)
        stopped = await made.call("/v1.0/invoke/cellar/method/jam")
        await asyncio.to_thread(made.cellar.kill)
        late = asyncio.create_task(made.call("/v1.0/invoke/cellar/method/jam", timeout=2))
        await asyncio.to_thread(made.cellar.start, "/v1.0/healthz")
        await until(lambda: made.broker.log().count(SUBSCRIBED) == 3)
        killed = await made.call("/v1.0/invoke/cellar/method/jam")
        await asyncio.gather(late, return_exceptions=True)

    assert "couldn't find service: cellar" in gone.json()["message"]
    assert (stopped.body, killed.body, len(made.app.on("/jam"))) == (b"jam", b"jam", 2)


@pytest.fixture
def grpc_pair(tmp_path: Path) -> Iterator[tuple[Client, GrpcApp]]:
    """A client of kitchen, the app of cellar."""
    with mosquitto(tmp_path) as broker, grpc_app() as app:
        for name in ("kitchen", "cellar"):
            (tmp_path / name).mkdir()
        kitchen = Sidecar(tmp_path / "kitchen", "kitchen", config=through(broker.port))
        flags = ["--app-protocol", "grpc"]
        cellar = Sidecar(tmp_path / "cellar", "cellar", app.port, config=through(broker.port), flags=flags)
        try:
            kitchen.start()
            cellar.start()
            wait_until(lambda: SUBSCRIBED in broker.log())
            with Client(kitchen.grpc_port) as client:
                yield client, app
        finally:
            for one in (kitchen, cellar):
                one.kill()


def test_grpc_calls_are_carried_one_message_each_way(grpc_pair: tuple[Client, GrpcApp]) -> None:
    client, app = grpc_pair
    app.answers["Fill"] = Reply(b"full", headers=(("x-first", "1"), ("x-bin", b"\0\1")), trailers=(("x-last", "2"),))
    app.answers["Spill"] = Reply(code=grpc.StatusCode.FAILED_PRECONDITION, text="no jar", trailers=(("x-why", "none"),))
    app.answers["Wait"] = Reply(after=3)
    to = (("dapr-app-id", "cellar"), ("x-a", "b"))

    full, spilt = client.raw("/jars.Jars/Fill", b"plum", to), client.raw("/jars.Jars/Spill", b"", to)
    late = client.raw("/jars.Jars/Wait", b"", to, timeout=1)
    stranger = client.raw("/jars.Jars/Fill", b"", (("dapr-app-id", "nobody"),))
    two = Client.finished(*_two_messages(client, to))

    seen = app.on("Fill")[0]
    assert (full.code, full.replies, full.initial["x-first"], full.initial["x-bin"], full.trailing["x-last"]) == (
        "OK", [b"full"], "1", b"\0\1", "2",
    )  # fmt: skip
    assert (seen.data, seen.value("x-a"), seen.value("dapr-caller-app-id"), seen.deadline is not None) == (b"plum", "b", "kitchen", True)
    assert (spilt.code, spilt.text, spilt.trailing["x-why"]) == ("FAILED_PRECONDITION", "no jar", "none")
    assert (late.code, stranger.code, two.code) == ("DEADLINE_EXCEEDED", "UNAVAILABLE", "UNIMPLEMENTED")
    assert "couldn't find service: nobody" in stranger.text and "streams need a sidecar" in two.text


def _two_messages(client: Client, to: Any) -> tuple[Any, Any]:
    call = client.channel.stream_stream("/jars.Jars/Fill")(iter((b"1", b"2")), metadata=to, timeout=10)
    return call, call


def test_invoke_service_over_grpc_reaches_a_grpc_app(grpc_pair: tuple[Client, GrpcApp]) -> None:
    client, app = grpc_pair
    message = common_pb2.InvokeRequest(method="jam", content_type="text/plain")
    message.data.value = b"plum"
    request = invoke_pb2.InvokeServiceRequest(id="cellar", message=message)
    app.answers["OnInvoke"] = Reply(invoked(b"full"))

    got = client.raw(client.path("InvokeService"), request.SerializeToString())

    asked = common_pb2.InvokeRequest.FromString(app.on("OnInvoke")[0].data)
    assert (got.code, common_pb2.InvokeResponse.FromString(got.replies[0]).data.value) == ("OK", b"full")
    assert (asked.method, asked.data.value) == ("jam", b"plum")


def test_the_example_of_a_pump_behind_nat_runs() -> None:
    done = subprocess.run([sys.executable, "examples/behind-nat/demo.py"], cwd=ROOT, capture_output=True, text=True, timeout=55)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "the office asks the pump for 20 s: {'litres': 15.0, 'asked by': 'office'}" in done.stdout


def invoked(data: bytes) -> bytes:
    """An InvokeResponse."""
    answer = common_pb2.InvokeResponse(content_type="text/plain")
    answer.data.value = data
    return bytes(answer.SerializeToString())
