"""Limits, order of sending, keys and dedupe of a component, from its metadata to the broker and the app."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from edge.blocks.pubsub import BulkEntry, PublishOptions
from edge.errors import EdgeError
from edge.rpc.pb import binding_pb2, pubsub_pb2
from tests.apps import Answer
from tests.grpc_client import Client, wait_until
from tests.harness import component, sidecar
from tests.harness_mqtt import Broker, expect, mosquitto, needs_mosquitto, plain, until, watching
from tests.rig import JSON, Rig, rig

Script = Callable[[Rig], Awaitable[Any]]


def play(folder: Path, script: Script, name: str, type_: str, *subscriptions: Any, **metadata: str) -> Any:
    async def run() -> Any:
        async with rig(folder, {name: (type_, metadata)}, subscriptions) as made:
            return await script(made)

    return asyncio.run(run())


def over_mqtt(folder: Path, broker: Broker, script: Script, **metadata: str) -> Any:
    return play(folder, script, "wire", "pubsub.mqtt3", url=broker.url, consumerID="kept", **metadata)


async def publish(made: Rig, topic: str, n: int, key: str = "", name: str = "wire", raw: str = "true") -> None:
    options = PublishOptions(JSON, {"rawPayload": raw}, idempotency_key=key)
    await made.pubsub.publish(made.app, name, topic, b"%d" % n, options)


@needs_mosquitto
def test_a_full_journal_answers_507_and_when_to_come_again(tmp_path: Path) -> None:
    with mosquitto(tmp_path, start=False) as broker:
        expect(broker)

        async def script(made: Rig) -> EdgeError:
            for n in range(3):
                await publish(made, "a", n)
            with pytest.raises(EdgeError) as caught:
                await publish(made, "b", 3)
            return caught.value

        error = over_mqtt(tmp_path, broker, script, journalMaxMessages="3")

    assert (error.http, error.grpc, error.headers) == (507, 8, (("Retry-After", "1"),))
    assert "journal of out/wire/b is full" in error.message


@needs_mosquitto
@pytest.mark.parametrize("policy", ["reject", "drop-oldest"])
@pytest.mark.parametrize("type_", ["bindings.mqtt3", "bindings.mqtt5"])
def test_a_binding_keeps_to_its_limits_while_the_broker_is_away(type_: str, policy: str, tmp_path: Path) -> None:
    with mosquitto(tmp_path, start=False) as broker:
        raw = {"url": broker.url, "consumerID": "b", "topic": "b", "journalMaxMessages": "3", "journalWhenFull": policy}
        wire = component("out", type_, raw)
        expect(broker)
        with sidecar(tmp_path, resources={"out.yaml": wire}) as one:
            answers = [one.call("POST", "/v1.0/bindings/out", {"operation": "create", "data": n}) for n in range(8)]
            with watching(broker) as watcher:
                wait_until(lambda: len(watcher.got) == 3)
                got = [int(message.payload) for message in watcher.got]

    refused = [answer for answer in answers if answer.status != 204]
    if policy == "reject":
        assert {(answer.status, answer.headers["retry-after"]) for answer in refused} == {(507, "1")}
        assert (len(refused), got) == (5, [0, 1, 2])
    else:
        assert (refused, got) == ([], [0, 1, 7])  # the first two are in flight


@needs_mosquitto
def test_a_repeated_create_is_accepted_once(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, plain(broker.port) as reader:
        reader.subscribe("b")
        raw = {"url": broker.url, "consumerID": "b", "topic": "b"}
        with sidecar(tmp_path, resources={"out.yaml": component("out", "bindings.mqtt3", raw)}) as one, Client(one.grpc_port) as client:
            for key in ("k1", "k1", "k2"):
                asked = {"operation": "create", "data": key}
                assert one.call("POST", "/v1.0/bindings/out", asked, {"Idempotency-Key": key}).status == 204
            request = binding_pb2.InvokeBindingRequest(name="out", operation="create", data=b"3").SerializeToString()
            for key in ("k2", "k3"):
                assert client.raw(client.path("InvokeBinding"), request, (("idempotency-key", key),)).code == "OK"
            wait_until(lambda: len(reader.got) >= 3)

    assert reader.payloads() == [b'"k1"', b'"k2"', b"3"]


@needs_mosquitto
def test_a_topic_may_keep_only_its_last_value(tmp_path: Path) -> None:
    with mosquitto(tmp_path, start=False) as broker:
        expect(broker)

        async def script(made: Rig) -> list[bytes]:
            for n in range(20):
                await publish(made, "state/x", n)
                await publish(made, "log", n)
            with watching(broker) as peer:
                await until(lambda: made.pending() == 0)
                await until(lambda: len(peer.got) >= 21)
                return [m.payload for m in peer.got if m.topic == "state/x"]

        found = over_mqtt(tmp_path, broker, script, journalTopics="state/#=whenFull:keep-last")

    assert found[-1] == b"19"
    assert len(found) <= 2  # the first was on its way


@needs_mosquitto
def test_alarms_overtake_a_backlog_of_telemetry(tmp_path: Path) -> None:
    with mosquitto(tmp_path, start=False) as broker:
        expect(broker)

        async def script(made: Rig) -> list[str]:
            for topic in ("telemetry/1", "telemetry/2", "telemetry/3"):
                await asyncio.gather(*(publish(made, topic, n) for n in range(200)))
            for n in range(20):
                await publish(made, "alarms/fire", n)
            with watching(broker) as peer:
                await until(lambda: len(peer.got) >= 620, 20)
                return [m.topic for m in peer.got]

        topics = over_mqtt(tmp_path, broker, script, journalTopics="alarms/#=priority:9", journalRate="400")

    last_alarm = max(at for at, topic in enumerate(topics) if topic == "alarms/fire")
    assert last_alarm < 300


@needs_mosquitto
def test_a_backlog_is_sent_at_its_rate_and_live_topics_do_not_wait(tmp_path: Path) -> None:
    with mosquitto(tmp_path, start=False) as broker:
        expect(broker)

        async def script(made: Rig) -> tuple[float, int]:
            await asyncio.gather(*(publish(made, "old", n) for n in range(250)))
            with watching(broker) as peer:
                await until(lambda: len(peer.got) > 0, 20)
                began = time.monotonic()
                await publish(made, "live", 1)
                await until(lambda: any(m.topic == "live" for m in peer.got), 20)
                before_live = len(peer.got)
                await until(lambda: len(peer.got) >= 251, 20)
                return time.monotonic() - began, before_live

        took, before_live = over_mqtt(tmp_path, broker, script, journalRate="100")

    assert before_live < 250
    assert took > 0.8  # a second's worth goes at once, the others in 1.5 s; the first may be noticed late


@needs_mosquitto
@pytest.mark.parametrize("mode", ["either", "journal", "broker"])
def test_a_repeated_idempotency_key_is_accepted_once(mode: str, tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, plain(broker.port) as peer:
        peer.subscribe("#")

        async def script(made: Rig) -> None:
            await until(lambda: made.opened[0].component.unhealthy() is None)
            await asyncio.gather(*(publish(made, "a", 1, "k1") for _ in range(3)))
            await publish(made, "a", 1, "k1")
            await publish(made, "b", 2, "k1")
            await publish(made, "a", 3, "k2")
            await publish(made, "a", 4)
            await until(lambda: b"4" in peer.payloads() and made.pending() == 0)

        over_mqtt(tmp_path, broker, script, durability=mode)
        over_mqtt(tmp_path, broker, script, durability=mode)

        assert sorted(peer.payloads()) == [b"1", b"2", b"3", b"4", b"4"]


@needs_mosquitto
@pytest.mark.parametrize("mode", ["either", "journal", "broker"])
def test_of_a_repeated_bulk_only_new_entries_are_accepted(mode: str, tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, plain(broker.port) as reader:
        reader.subscribe("t")
        metadata = {"url": broker.url, "consumerID": "b", "durability": mode}
        resources = {"wire.yaml": component("wire", "pubsub.mqtt3", metadata)}
        with sidecar(tmp_path, resources=resources) as one, Client(one.grpc_port) as client:
            for key, numbers in (("k1", (1, 2)), ("k1", (2, 3)), ("k2", (3,)), ("", (3,))):
                entries = [{"entryId": f"e{n}", "event": n, "contentType": "application/json"} for n in numbers]
                path = "/v1.0/publish/bulk/wire/t?metadata.rawPayload=true"
                assert one.call("POST", path, entries, {"Idempotency-Key": key} if key else {}).status == 204
            request = pubsub_pb2.BulkPublishRequest(pubsub_name="wire", topic="t", metadata={"rawPayload": "true"})
            for n in (3, 4):
                request.entries.add(entry_id=f"e{n}", event=b"%d" % n, content_type="application/json")
            answer = client.raw(client.path("BulkPublishEvent"), request.SerializeToString(), (("idempotency-key", "k1"),))
            assert answer.code == "OK"
            wait_until(lambda: len(reader.got) >= 6)

    assert reader.payloads() == [b"1", b"2", b"3", b"3", b"3", b"4"]


def test_of_a_repeated_bulk_only_new_entries_are_accepted_locally(tmp_path: Path) -> None:
    async def script(made: Rig) -> list[int]:
        await made.start()
        for numbers in ((1, 2), (2, 3)):
            entries = [BulkEntry(f"e{n}", b"%d" % n, JSON) for n in numbers]
            assert not await made.pubsub.publish_bulk(made.app, "local", "t", entries, PublishOptions(idempotency_key="k"))
        await made.server.until(lambda: len(made.server.on("/t")) >= 3)
        return sorted(json.loads(seen.body)["data"] for seen in made.server.on("/t"))

    told = {"pubsubname": "local", "topic": "t", "route": "/t"}
    assert play(tmp_path, script, "local", "pubsub.sqlite", told) == [1, 2, 3]


def test_a_key_holds_for_local_publishing_too(tmp_path: Path) -> None:
    async def script(made: Rig) -> int:
        await made.start()
        await publish(made, "t", 1, "k", "local", "")
        await publish(made, "t", 1, "k", "local", "")
        await publish(made, "t", 2, "k2", "local", "")
        await made.server.until(lambda: len(made.server.on("/t")) >= 2)
        return len(made.server.on("/t"))

    told = {"pubsubname": "local", "topic": "t", "route": "/t"}
    assert play(tmp_path, script, "local", "pubsub.sqlite", told) == 2


def test_a_failed_publish_is_not_remembered(tmp_path: Path) -> None:
    async def script(made: Rig) -> int:
        tries = 0

        async def fails_once() -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await made.journal.once("k", 60.0, fails_once)
        await made.journal.once("k", 60.0, fails_once)
        await made.journal.once("k", 60.0, fails_once)
        return tries

    assert play(tmp_path, script, "local", "pubsub.sqlite") == 2


def event(n: int, id_: str, source: str = "sensor") -> bytes:
    return json.dumps({"specversion": "1.0", "type": "t", "source": source, "id": id_, "data": n}).encode()


@needs_mosquitto
def test_with_dedupe_an_event_goes_out_and_in_once(tmp_path: Path) -> None:
    told = {"pubsubname": "wire", "topic": "in", "route": "/in"}
    with mosquitto(tmp_path) as broker, plain(broker.port) as peer:
        peer.subscribe("out")

        async def script(made: Rig) -> list[int]:
            await made.start()
            await until(lambda: made.opened[0].component.unhealthy() is None)
            for n, id_ in enumerate(("1", "1", "2")):
                await made.pubsub.publish(made.app, "wire", "out", event(n, id_), PublishOptions("application/cloudevents+json"))
            peer.publish("in", event(0, "1"), event(1, "1"), event(2, "2"), event(3, "1", "other"))
            await made.server.until(lambda: len(made.server.on("/in")) >= 3)
            await until(lambda: made.pending() == 0 and len(peer.got) >= 2)
            return [seen.json()["data"] for seen in made.server.on("/in")]

        metadata = {"url": broker.url, "consumerID": "kept", "dedupe": "1m"}
        found = play(tmp_path, script, "wire", "pubsub.mqtt3", told, **metadata)

        assert [json.loads(payload)["data"] for payload in peer.payloads()] == [0, 2]
        assert found == [0, 2, 3]


@needs_mosquitto
def test_a_full_inbox_leaves_the_rest_with_the_broker(tmp_path: Path) -> None:
    told = {"pubsubname": "wire", "topic": "in", "route": "/in"}
    with mosquitto(tmp_path) as broker, plain(broker.port) as peer:

        async def script(made: Rig) -> tuple[int, int]:
            made.server.answers["POST", "/in"] = Answer(500)
            await made.start()
            await until(lambda: made.opened[0].component.unhealthy() is None)
            peer.publish("in", *(event(n, f"{n}") for n in range(30)))
            await until(lambda: made.pending("in/") == 10)
            await asyncio.sleep(0.05)
            most = made.pending("in/")
            made.server.answers["POST", "/in"] = Answer(200)
            made.server.seen.clear()
            await made.server.until(lambda: len({seen.json()["data"] for seen in made.server.on("/in")}) == 30, 20)
            return most, made.pending("in/")

        metadata = {"url": broker.url, "consumerID": "kept", "journalMaxMessages": "10", "durability": "journal"}
        most, _ = play(tmp_path, script, "wire", "pubsub.mqtt3", told, **metadata)

    assert most == 10
