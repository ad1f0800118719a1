"""MQTT 5 against a real broker: properties both ways, expiry, groups, sessions, and how an event is carried."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components._mqtt.mapping5 import incoming, outgoing, outgoing_binary
from components._mqtt.packets5 import Block, Properties, read
from edge.errors import Invalid, Unavailable
from edge.model import Message
from edge.received import unwrap
from tests.harness_components import Sink, opened
from tests.harness_mqtt import Broker, mosquitto, needs_mosquitto, plain, until

pytestmark = [needs_mosquitto, pytest.mark.mosquitto]
TYPE = "pubsub.mqtt5"
EVENT = json.dumps(
    {
        "data": {"t": 21.5},
        "datacontenttype": "application/json",
        "id": "e1",
        "source": "greenhouse",
        "specversion": "1.0",
        "type": "reading",
    }
).encode()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with mosquitto(tmp_path_factory.mktemp("mqtt")) as one:
        yield one


def properties(**given: Any) -> Any:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties as Paho

    found = Paho(PacketTypes.PUBLISH)
    for name, value in given.items():
        setattr(found, name, value)
    return found


# --- on the wire
async def test_an_event_is_published_with_its_attributes_and_metadata(tmp_path: Path, broker: Broker) -> None:
    metadata = {"ttlInSeconds": "60", "site": "nord", "responseTopic": "answers", "correlationData": "c7", "retain": "false"}
    with plain(broker.port, version=5) as dashboard:
        dashboard.subscribe("out/#")
        async with opened(TYPE, tmp_path, {"url": broker.url, "consumerID": "out"}) as pubsub:
            await pubsub.publish(Message("out/event", EVENT, metadata))
            await pubsub.publish(Message("out/raw", b"21.5", {"rawPayload": "true"}, "text/plain"))
        await until(lambda: len(dashboard.got) == 2)

    event, raw = dashboard.got
    user = dict(event.properties.UserProperty)
    assert (event.payload, event.properties.ContentType) == (EVENT, "application/cloudevents+json")
    assert user == {"specversion": "1.0", "id": "e1", "source": "greenhouse", "type": "reading", "site": "nord"}
    assert 55 <= event.properties.MessageExpiryInterval <= 60
    assert (event.properties.ResponseTopic, event.properties.CorrelationData) == ("answers", b"c7")
    assert (raw.properties.ContentType, getattr(raw.properties, "UserProperty", [])) == ("text/plain", [])


async def test_properties_of_a_sensor_are_metadata(tmp_path: Path, broker: Broker) -> None:
    async with opened(TYPE, tmp_path, {"url": broker.url, "consumerID": "in"}) as pubsub:
        sink = Sink()
        await pubsub.subscribe("in/#", sink, {}, "app")
        await until(lambda: pubsub.unhealthy() is None)
        await asyncio.sleep(0.05)
        with plain(broker.port, version=5) as sensor:
            given = {"ContentType": "text/plain", "UserProperty": [("site", "süd"), ("tag", "a"), ("tag", "b"), ("retained", "no")]}
            more = {"MessageExpiryInterval": 60, "CorrelationData": b"\xff", "ResponseTopic": "r"}
            await asyncio.to_thread(lambda: sensor.publish("in/1", b"7", properties=properties(**given, **more)))
        await until(lambda: bool(sink.got))

    (message,) = sink.got
    assert message.content_type == "text/plain"
    assert message.metadata == {
        "retained": "false", "site": "süd", "tag": "a,b", "ttlInSeconds": "60", "correlationDataBase64": "/w==", "responseTopic": "r",
    }  # fmt: skip


async def test_what_outlived_its_time_at_the_broker_does_not_come(tmp_path: Path, broker: Broker) -> None:
    raw = {"url": broker.url, "consumerID": "late"}
    async with opened(TYPE, tmp_path, raw) as pubsub:
        await pubsub.subscribe("late", Sink(), {}, "app")
        await until(lambda: pubsub.unhealthy() is None)
        await asyncio.sleep(0.05)
    async with opened(TYPE, tmp_path, {**raw, "consumerID": "other"}) as pubsub:
        await pubsub.publish(Message("late", b"old", {"ttlInSeconds": "1"}))
        await pubsub.publish(Message("late", b"new", {"ttlInSeconds": "60"}))
    for _ in range(45):
        await asyncio.sleep(0.05)

    async with opened(TYPE, tmp_path, raw) as pubsub:
        sink = Sink()
        await pubsub.subscribe("late", sink, {}, "app")
        await until(lambda: bool(sink.got))
    assert sink.payloads == [b"new"]


async def test_a_consumer_group_splits_the_messages(tmp_path: Path, broker: Broker) -> None:
    raw = {"url": broker.url, "consumerGroup": "g"}
    async with opened(TYPE, tmp_path, raw | {"consumerID": "g1"}) as one, opened(TYPE, tmp_path, raw | {"consumerID": "g2"}) as two:
        first, second = Sink(), Sink()
        await one.subscribe("group/+", first, {}, "app")
        await two.subscribe("group/+", second, {}, "app")
        await until(lambda: one.unhealthy() is None and two.unhealthy() is None)
        await asyncio.sleep(0.05)
        for number in range(40):
            await one.publish(Message("group/a", b"%d" % number))
        await until(lambda: len(first.got) + len(second.got) == 40)
    assert first.got and second.got


async def test_a_session_ends_when_its_expiry_does(tmp_path: Path, broker: Broker) -> None:
    raw = {"url": broker.url, "consumerID": "short", "sessionExpiry": "1s"}
    async with opened(TYPE, tmp_path, raw) as pubsub:
        await pubsub.subscribe("short", Sink(), {}, "app")
        await until(lambda: pubsub.unhealthy() is None)
        await asyncio.sleep(0.05)
    await until(lambda: "expired" in broker.log() or "Expir" in broker.log(), 10)


# --- the mapping
async def test_binary_mode_carries_data_and_attributes_apart(tmp_path: Path, broker: Broker) -> None:
    raw = {"url": broker.url, "consumerID": "binary", "eventMode": "binary"}
    async with opened(TYPE, tmp_path, raw) as pubsub:
        sink = Sink()
        await pubsub.subscribe("binary", sink, {}, "app")
        await pubsub.publish(Message("binary", EVENT))
        await until(lambda: bool(sink.got))

    (message,) = sink.got
    assert (message.data, message.content_type, message.metadata["ce-id"]) == (b'{"t":21.5}', "application/json", "e1")
    body = json.loads(unwrap(message, "mqtt", "binary", raw=False).body)
    assert body == json.loads(EVENT) | {"topic": "binary", "pubsubname": "mqtt"}


@pytest.mark.parametrize("data", [b"plain", b"\xff\x00", b'{"no":"event"}', b"[1]"])
def test_binary_mode_leaves_what_is_no_event(data: bytes) -> None:
    assert outgoing_binary(Message("t", data)) == (data, outgoing(Message("t", data)))


@pytest.mark.parametrize(("content_type", "data", "field"), [
    ("text/plain", b"21", {"data": "21"}),
    ("application/octet-stream", b"\xff", {"data_base64": "/w=="}),
    ("image/png", b"\x89PNG", {"data_base64": "iVBORw=="}),
    ("", b"[1]", {"data": [1]}),
])  # fmt: skip
def test_events_in_binary_mode_reach_the_app_in_json(content_type: str, data: bytes, field: dict[str, Any]) -> None:
    user = (("specversion", "1.0"), ("id", "7"), ("type", "t"), ("source", "s"), ("X-Note", "n"))
    message = incoming("t", data, False, Properties(content_type=content_type, user=user))
    event = json.loads(unwrap(message, "p", "t", raw=False).body)
    assert field.items() <= event.items()
    assert (event["id"], event["type"], event["datacontenttype"]) == ("7", "t", content_type or "application/json")
    assert message.metadata["X-Note"] == "n"


def test_trace_context_of_the_broker_fills_an_event_without_one() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    message = incoming(
        "t", EVENT, False, Properties(content_type="application/cloudevents+json", user=(("traceparent", trace), ("id", "x")))
    )
    received = unwrap(message, "p", "t", raw=False)
    assert (received.event["traceparent"], received.event["id"]) == (trace, "e1")
    assert dict(outgoing(Message("t", json.dumps(dict(received.event)).encode())).user)["traceparent"] == trace


async def test_metadata_that_cannot_be_properties_are_refused(tmp_path: Path, broker: Broker) -> None:
    async with opened(TYPE, tmp_path, {"url": broker.url, "consumerID": "refused"}) as pubsub:
        for metadata in ({"x": "y" * 70000}, {"correlationDataBase64": "#"}, {"\ud800": "x"}):
            with pytest.raises(Invalid):
                await pubsub.publish(Message("t", b"x", metadata))


def test_the_expiry_of_a_block_shrinks_and_never_ends() -> None:
    block = Block(Properties(expiry=10, user=(("a", "b"),)), 100.0)
    found = [read(block(now, 3), 0)[0] for now in (100.0, 104.5, 200.0)]
    assert [(one.expiry, one.alias, one.user) for one in found] == [(10, 3, (("a", "b"),)), (6, 3, (("a", "b"),)), (1, 3, (("a", "b"),))]
    assert block.size == len(block(100.0))


async def test_more_than_the_broker_allows_at_once_waits_without_being_refused(tmp_path: Path, broker: Broker) -> None:
    async with opened(TYPE, tmp_path, {"url": broker.url, "consumerID": "burst"}) as pubsub:
        await pubsub.publish(Message("burst", b"x"))
        await asyncio.gather(*(pubsub.send(Message("burst", b"%d" % number)) for number in range(100)))
        with pytest.raises(Unavailable, match="window"):
            for _ in range(200):
                pubsub.send(Message("burst", b"x")).add_done_callback(lambda future: future.exception())


async def test_the_quality_and_retention_that_a_broker_allows_are_kept_to(tmp_path: Path) -> None:
    with mosquitto(tmp_path, "max_qos 1", "retain_available false") as broker:
        raw = {"url": broker.url, "consumerID": "modest", "qos": "2", "retain": "true"}
        async with opened(TYPE, tmp_path, raw) as pubsub:
            sink = Sink()
            await pubsub.subscribe("modest", sink, {}, "app")
            await asyncio.wait_for(pubsub.publish(Message("modest", b"x")), 10)
            await until(lambda: sink.payloads == [b"x"])
            assert pubsub.unhealthy() is None
