"""`bindings.mqtt5`: questions and answers over a real broker, asked by edged and answered by edged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import Closed, Invalid, Unavailable, Unsupported
from edge.model import BindingEvent, BindingResult
from tests.harness import free_port
from tests.harness_components import opened
from tests.harness_mqtt import Broker, mosquitto, needs_mosquitto, until

pytestmark = [needs_mosquitto, pytest.mark.mosquitto]
TYPE = "bindings.mqtt5"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with mosquitto(tmp_path_factory.mktemp("mqtt")) as one:
        yield one


async def test_a_request_gets_the_answer_to_it_and_no_other(tmp_path: Path, broker: Broker) -> None:
    async with (
        opened(TYPE, tmp_path, {"url": broker.url, "topic": "ask/+", "consumerID": "pump"}) as pump,
        opened(TYPE, tmp_path, {"url": broker.url, "topic": "ask/1", "consumerID": "panel"}) as panel,
    ):

        async def answer(event: BindingEvent) -> BindingResult:
            metadata = pump.reply_to(event)
            assert metadata is not None
            more = {"contentType": "text/plain", "unit": event.metadata["unit"]}
            await pump.invoke("create", b"<%b>" % event.data, {**metadata, **more})
            return BindingResult()

        await pump.read(answer)
        await until(lambda: pump.unhealthy() is None)
        await asyncio.sleep(0.05)
        asking = [panel.invoke("request", b"%d" % number, {"topic": f"ask/{number % 3}", "unit": "C"}) for number in range(30)]
        answers = await asyncio.gather(*asking)

    assert [one.data for one in answers] == [b"<%d>" % number for number in range(30)]
    assert {(one.content_type, one.metadata["unit"]) for one in answers} == {("text/plain", "C")}


async def test_a_request_that_nobody_hears_says_so_at_once(tmp_path: Path, broker: Broker) -> None:
    async with opened(TYPE, tmp_path, {"url": broker.url, "topic": "void", "consumerID": "asker"}) as binding:
        with pytest.raises(Unavailable, match="nobody is subscribed to void"):
            await binding.invoke("request", b"?", {})


async def test_a_request_without_an_answer_ends_in_time(tmp_path: Path, broker: Broker) -> None:
    async with opened(TYPE, tmp_path, {"url": broker.url, "topic": "mute", "consumerID": "mute"}) as binding:

        async def silent(event: BindingEvent) -> BindingResult:
            return BindingResult()

        await binding.read(silent)
        await until(lambda: binding.unhealthy() is None)
        await asyncio.sleep(0.05)
        with pytest.raises(Unavailable, match=r"no answer from mute within 0\.3 s"):
            await binding.invoke("request", b"?", {"timeout": "300ms"})
        with pytest.raises(Invalid, match="timeout soon"):
            await binding.invoke("request", b"?", {"timeout": "soon"})
        waiting = asyncio.create_task(binding.invoke("request", b"?", {}))
        await asyncio.sleep(0.05)
        await binding.close()
        with pytest.raises(Closed):
            await waiting


async def test_a_request_while_the_broker_is_away_says_why_it_failed(tmp_path: Path) -> None:
    raw = {"url": f"tcp://127.0.0.1:{free_port()}", "topic": "t", "consumerID": "away", "requestTimeout": "300ms"}
    async with opened(TYPE, tmp_path, raw) as binding:
        with pytest.raises(Unavailable, match=r"no answer from t within .*mqtt://"):
            await binding.invoke("request", b"?", {})


async def test_requests_need_mqtt_5(tmp_path: Path, broker: Broker) -> None:
    raw = {"url": broker.url, "topic": "t", "consumerID": "old", "protocolVersion": "3.1.1"}
    async with opened(TYPE, tmp_path, raw) as binding:
        await binding.invoke("create", b"1", {"site": "nord"})
        with pytest.raises(Unsupported, match="needs MQTT 5"):
            await binding.invoke("request", b"?", {})
