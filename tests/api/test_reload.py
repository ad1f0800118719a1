"""Resources change while a sidecar runs: what is new is in force soon, what is wrong changes nothing, and no message is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.configuration.sqlite import put as put_item
from tests.apps import Answer, ScriptedApp
from tests.grpc_client import Client, Stream
from tests.harness import Sidecar, component, sidecar
from tests.harness_mqtt import Broker, mosquitto, needs_mosquitto, plain

JAR = component("jar", "state.in-memory")


def eventually(condition: Callable[[], bool], what: str, timeout: float = 15.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def names(one: Sidecar) -> list[str]:
    return [row["name"] for row in one.call("GET", "/v1.0/metadata").json()["components"]]


def write(one: Sidecar, name: str, text: str) -> None:
    (one.folder / "resources" / name).write_text(text)


def subscription(name: str, topic: str, route: str, **spec: Any) -> str:
    body = {"pubsubname": "bus", "topic": topic, "routes": {"default": route}, **spec}
    return json.dumps({"apiVersion": "dapr.io/v2alpha1", "kind": "Subscription", "metadata": {"name": name}, "spec": body})


def test_components_come_change_and_go(tmp_path: Path) -> None:
    with sidecar(tmp_path, resources={"jar.yaml": JAR}) as one:
        write(one, "cup.yaml", component("cup", "state.sqlite", {"connectionString": str(tmp_path / "cup.db")}))
        eventually(lambda: "cup" in names(one), "cup is not there")
        assert one.call("POST", "/v1.0/state/cup", [{"key": "k", "value": 1}]).status == 204
        assert one.call("POST", "/v1.0/state/jar", [{"key": "k", "value": 1}]).status == 204

        write(one, "cup.yaml", component("cup", "state.sqlite", {"connectionString": str(tmp_path / "cup.db"), "keyPrefix": "none"}))
        eventually(lambda: one.call("GET", "/v1.0/state/cup/k").status == 204, "the prefix is the old one")
        assert one.call("GET", "/v1.0/state/jar/k").body == b"1"

        (tmp_path / "resources/cup.yaml").unlink()
        eventually(lambda: names(one) == ["jar"], "cup is still there")
        assert one.call("GET", "/v1.0/state/cup/k").status == 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: [", "cup.yaml"),
        (component("cup", "state.nonsense"), "couldn't find state store state.nonsense/v1"),
        (component("cup", "state.sqlite", {"connectionString": "x.db", "timeout": "never"}), "timeout"),
        (component("jar", "state.in-memory"), "duplicate definition of Component name jar"),
    ],
)
def test_what_cannot_be_used_changes_nothing(text: str, said: str, tmp_path: Path) -> None:
    cup = component("cup", "state.in-memory")
    with sidecar(tmp_path, resources={"jar.yaml": JAR, "cup.yaml": cup}) as one:
        one.call("POST", "/v1.0/state/cup", [{"key": "k", "value": 1}])
        before = len(one.log())

        write(one, "cup.yaml", text)

        eventually(lambda: said in one.log()[before:], "nothing is said about it")
        assert sorted(names(one)) == ["cup", "jar"]
        assert one.call("GET", "/v1.0/state/cup/k").body == b"1"
        write(one, "cup.yaml", component("cup", "state.in-memory", {"keyPrefix": "name"}))
        eventually(lambda: one.call("GET", "/v1.0/state/cup/k").status == 204, "a right one is not taken")


def test_requests_go_on_while_a_store_is_exchanged(tmp_path: Path) -> None:
    def cup(number: int) -> str:
        return component("cup", "state.sqlite", {"connectionString": str(tmp_path / "cup.db"), "busyTimeout": f"{number + 2}s"})

    with sidecar(tmp_path, resources={"cup.yaml": cup(0)}) as one:
        stop, failed, done = threading.Event(), [], [0]

        def work() -> None:
            while not stop.is_set():
                answer = one.call("POST", "/v1.0/state/cup", [{"key": f"k{done[0]}", "value": done[0]}])
                if answer.status != 204:
                    failed.append(answer.body)
                done[0] += 1

        worker = threading.Thread(target=work)
        worker.start()
        try:
            for number in range(1, 5):
                write(one, "cup.yaml", cup(number))
                eventually(lambda number=number: one.log().count("Component loaded: cup") > number, "not exchanged")  # type: ignore[misc]
                before = done[0]
                eventually(lambda before=before: done[0] > before + 3, "requests do not go on")  # type: ignore[misc]
        finally:
            stop.set()
            worker.join()

        assert failed == []
        last = one.call("GET", f"/v1.0/state/cup/k{done[0] - 1}")
        assert last.json() == done[0] - 1


def test_sighup_reads_everything_anew_in_the_same_process(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"word": "one"}')
    safe = component("safe", "secretstores.local.file", {"secretsFile": str(tmp_path / "secrets.json")})
    with sidecar(tmp_path, resources={"jar.yaml": JAR, "safe.yaml": safe}) as one:
        assert one.process is not None
        assert one.call("GET", "/v1.0/secrets/safe/word").json() == {"word": "one"}
        (tmp_path / "secrets.json").write_text('{"word": "two"}')

        one.process.send_signal(signal.SIGHUP)

        eventually(lambda: one.log().count("dapr initialized. Status: Running") >= 2, "it did not start anew")
        one.wait()
        assert one.call("GET", "/v1.0/secrets/safe/word").json() == {"word": "two"}
        write(
            one,
            "a.yaml",
            "kind: Component\napiVersion: dapr.io/v1alpha1\nmetadata: {name: jar}\nspec: {type: state.in-memory, version: v1}",
        )
        one.process.send_signal(signal.SIGHUP)
        eventually(lambda: "duplicate definition" in one.log(), "a plan that can't run is taken")
        assert one.call("GET", "/v1.0/secrets/safe/word").status == 200
        assert one.stop() == 0


def test_a_resiliency_change_starts_the_runtime_anew(tmp_path: Path) -> None:
    with sidecar(tmp_path, resources={"jar.yaml": JAR}) as one:
        spec = {"policies": {"timeouts": {"t": "1s"}}, "targets": {"components": {"jar": {"outbound": {"timeout": "t"}}}}}
        write(one, "r.yaml", json.dumps({"apiVersion": "dapr.io/v1alpha1", "kind": "Resiliency", "metadata": {"name": "r"}, "spec": spec}))

        eventually(lambda: one.log().count("dapr initialized. Status: Running") >= 2, "it did not start anew")
        one.wait()
        assert names(one) == ["jar"]


@pytest.fixture
def broker(tmp_path: Path) -> Any:
    with mosquitto(tmp_path / "mqtt") as one:
        yield one


@needs_mosquitto
@pytest.mark.mosquitto
def test_no_message_is_lost_while_its_component_and_subscription_change(tmp_path: Path, broker: Broker) -> None:
    def bus(number: int) -> str:
        return component("bus", "pubsub.mqtt3", {"url": broker.url, "consumerID": "shop", "qos": "1", "keepAlive": f"{number + 10}s"})

    async def main() -> None:
        async with ScriptedApp(default=Answer(200)) as app:
            await asyncio.to_thread(run, app)

    def run(app: ScriptedApp) -> None:
        resources = {"bus.yaml": bus(0), "sub.yaml": subscription("s", "plant", "/a")}
        with sidecar(tmp_path / "side", resources=resources, app_port=app.port, app_id="shop") as one, plain(broker.port) as client:
            eventually(lambda: "app is subscribed" in one.log() or _subscribed(one), "no subscription")
            sent = 0

            def send(count: int) -> None:
                nonlocal sent
                client.publish("plant", *(event(number) for number in range(sent, sent + count)))
                sent += count

            for number in range(1, 4):
                send(100)
                write(one, "bus.yaml", bus(number))
                send(100)
                write(one, "sub.yaml", subscription("s", "plant", f"/b{number}"))
                send(100)
                deadline = time.monotonic() + 15
                while not any(seen.target == f"/b{number}" for seen in app.seen):
                    assert time.monotonic() < deadline, "the new route gets nothing"
                    send(1)
                    time.sleep(0.01)
            send(10)
            eventually(lambda: len(_numbers(app)) == sent, f"{sent - len(_numbers(app))} messages are lost", 30)
            write(one, "sub.yaml", subscription("s", "animal", "/c"))
            eventually(
                lambda: [row["topic"] for row in one.call("GET", "/v1.0/metadata").json()["subscriptions"]] == ["animal"], "old topic"
            )
            deadline = time.monotonic() + 15
            while not any(seen.target == "/c" for seen in app.seen):
                assert time.monotonic() < deadline, "the new topic gets nothing"
                client.publish("animal", event(0))
                time.sleep(0.01)

    asyncio.run(main())


def event(number: int) -> str:
    return json.dumps({"specversion": "1.0", "id": str(number), "source": "t", "type": "t", "data": number})


def _subscribed(one: Sidecar) -> bool:
    return bool(one.call("GET", "/v1.0/metadata").json().get("subscriptions"))


def _numbers(app: ScriptedApp) -> set[str]:
    return {str(seen.json()["data"]) for seen in app.seen if seen.target[:2] in ("/a", "/b") and seen.method == "POST"}


async def test_subscriptions_and_bindings_go_on_at_the_exchanged_component(tmp_path: Path) -> None:
    async with ScriptedApp(default=Answer(200)) as app:
        await asyncio.to_thread(exchange_under_subscribers, tmp_path, app)


def exchange_under_subscribers(tmp_path: Path, app: ScriptedApp) -> None:
    def dial(milliseconds: int) -> str:
        fields = {"connectionString": str(tmp_path / "c.db"), "pollInterval": f"{milliseconds}ms"}
        return component("dial", "configuration.sqlite", fields)

    def tick(route: str) -> str:
        return component("tick", "bindings.cron", {"schedule": "@every 1s", "direction": "input", "route": route})

    def put(value: str) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "c.db", timeout=10)) as file, file as tx:
            put_item(tx, "configuration", "knob", value)

    def seen(path: str) -> int:
        return sum(1 for one in app.seen if one.method == "POST" and one.target == path)

    with sidecar(tmp_path / "side", resources={"d.yaml": dial(20), "t.yaml": tick("/a")}, app_port=app.port) as one:
        eventually(lambda: seen("/a") > 0, "no tick")
        put("0")
        assert one.call("GET", "/v1.0/configuration/dial/subscribe?key=knob").status == 200
        put("1")
        eventually(lambda: seen("/configuration/dial/knob") > 0, "the app is not told")

        write(one, "d.yaml", dial(30))
        write(one, "t.yaml", tick("/b"))
        eventually(lambda: seen("/b") > 0, "no tick on the new route")
        told = seen("/configuration/dial/knob")
        put("2")

        eventually(lambda: seen("/configuration/dial/knob") > told, "the app is not told by the new component")
        assert app.seen[-1].target != "/a"


@needs_mosquitto
@pytest.mark.mosquitto
def test_a_stream_on_an_exchanged_component_ends_and_the_next_one_misses_nothing(tmp_path: Path, broker: Broker) -> None:
    def bus(seconds: int) -> str:
        return component("bus", "pubsub.mqtt3", {"url": broker.url, "consumerID": "shop", "qos": "1", "keepAlive": f"{seconds}s"})

    def opened(client: Client) -> Stream:
        stream = client.stream("SubscribeTopicEventsAlpha1")
        stream.send({"initialRequest": {"pubsubName": "bus", "topic": "t"}})
        assert stream.next() == {"initialResponse": {}}
        return stream

    with sidecar(tmp_path / "side", resources={"bus.yaml": bus(10)}) as one, Client(one.grpc_port) as client, plain(broker.port) as sensor:
        stream = opened(client)
        sensor.publish("t", event(1))
        first = stream.next()["eventMessage"]
        stream.send({"eventProcessed": {"id": first["id"], "status": {"status": 0}}})
        write(one, "bus.yaml", bus(11))

        end = stream.end()
        assert end.code == "UNAVAILABLE", end
        sensor.publish("t", event(2))

        again = opened(client)
        assert again.next()["eventMessage"]["id"] == "2"
