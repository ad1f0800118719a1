"""MQTT 5 through the whole sidecar: events with properties, questions that the app answers, and a life that goes on in the journal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.apps import Answer, ScriptedApp, Seen
from tests.harness import Sidecar, component, sidecar
from tests.harness_mqtt import Broker, mosquitto, needs_mosquitto, plain, until

pytestmark = [needs_mosquitto, pytest.mark.mosquitto]
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@asynccontextmanager
async def device(folder: Path, broker: Broker, app: ScriptedApp) -> AsyncIterator[Sidecar]:
    url = broker.url
    resources = {
        "bus.yaml": component("bus", "pubsub.mqtt5", {"url": url}),
        "valve.yaml": component("valve", "bindings.mqtt5", {"url": url, "topic": "valve/+", "consumerID": "valve"}),
    }
    one = sidecar(folder, app_id="dev", app_port=app.port, resources=resources)
    started = await asyncio.to_thread(one.__enter__)
    try:
        yield started
    finally:
        await asyncio.to_thread(one.__exit__, None, None, None)


async def test_events_and_questions_with_properties(tmp_path: Path) -> None:
    def valve(request: Seen) -> Answer:
        return Answer(200, b'{"was":%b}' % request.body)

    subscriptions = [{"pubsubname": "bus", "topic": "plant/+", "route": "plant"}]
    answers = {("GET", "/dapr/subscribe"): Answer.json(subscriptions), ("POST", "/plant"): Answer(200), ("OPTIONS", "/valve"): Answer(200)}
    async with ScriptedApp({**answers, ("POST", "/valve"): valve}) as app:
        with mosquitto(tmp_path) as broker, plain(broker.port, version=5) as dashboard:
            dashboard.subscribe("plant/#")
            async with device(tmp_path / "dev", broker, app) as edged:
                await until(lambda: "dev" in broker.log() and "valve-consumer" in broker.log())
                path = "/v1.0/publish/bus/plant/1?metadata.site=nord&metadata.ttlInSeconds=60"
                answer = await asyncio.to_thread(edged.call, "POST", path, {"t": 21}, {"traceparent": TRACE})
                assert answer.status == 204
                await app.until(lambda: app.on("/plant"), 10)

                asking = {"operation": "request", "data": 7, "metadata": {"topic": "valve/3", "timeout": "8s"}}
                answer = await asyncio.to_thread(edged.call, "POST", "/v1.0/bindings/valve", asking)
                assert (answer.status, answer.body) == (200, b'{"was":7}')
                nobody = {"operation": "request", "data": 7, "metadata": {"topic": "void"}}
                answer = await asyncio.to_thread(edged.call, "POST", "/v1.0/bindings/valve", nobody)
                assert (answer.status, "nobody is subscribed to void" in answer.body.decode()) == (500, True)
            await until(lambda: bool(dashboard.got))

    (event,) = app.on("/plant")
    (asked, *_) = app.on("/valve", "POST")
    user = dict(dashboard.got[0].properties.UserProperty)
    assert (event.header("site"), json.loads(event.body)["data"]) == ("nord", {"t": 21})
    assert "expiration" not in json.loads(event.body)
    assert user["traceparent"][3:35] == TRACE[3:35] and user["site"] == "nord" and user["type"] == "com.dapr.event.sent"
    assert (asked.header("topic"), asked.body) == ("valve/3", b"7")


async def test_the_time_in_the_journal_is_taken_off_the_expiry(tmp_path: Path) -> None:
    async with ScriptedApp() as app:
        with mosquitto(tmp_path, start=False) as broker:
            async with device(tmp_path / "dev", broker, app) as edged:
                path = "/v1.0/publish/bus/late?metadata.ttlInSeconds="
                assert (await asyncio.to_thread(edged.call, "POST", path + "1", 1)).status == 204
                assert (await asyncio.to_thread(edged.call, "POST", path + "100", 2)).status == 204
                for _ in range(45):
                    await asyncio.sleep(0.05)
                await asyncio.to_thread(broker.start)
                with plain(broker.port, version=5) as dashboard:
                    dashboard.subscribe("late")
                    await until(lambda: bool(dashboard.got), 20)

    assert [json.loads(one.payload)["data"] for one in dashboard.got] == [2]
    assert 80 <= dashboard.got[0].properties.MessageExpiryInterval <= 98
