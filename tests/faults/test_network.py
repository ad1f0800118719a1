"""Links that cut, freeze and crawl, brokers that refuse: nothing is lost, nothing is asked too often, and the reason is told."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from components._mqtt.frames import CONNACK, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL
from edge.errors import Invalid, Unavailable
from edge.model import Message
from tests.faults.links import Cut, Scissors, Scripted
from tests.harness import Sidecar, component
from tests.harness_components import Sink, opened
from tests.harness_mqtt import Broker, Proxy, mosquitto, needs_mosquitto, plain, until
from tests.rig import rig

pytestmark = [needs_mosquitto, pytest.mark.mosquitto]
BOTH = ("pubsub.mqtt3", "pubsub.mqtt5")
OUT = {1: ((PUBLISH, True), (PUBACK, False)), 2: ((PUBLISH, True), (PUBREC, False), (PUBREL, True), (PUBCOMP, False))}
IN = {qos: tuple((kind, not upward) for kind, upward in steps) for qos, steps in OUT.items()}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with mosquitto(tmp_path_factory.mktemp("mqtt"), "autosave_on_changes false", "autosave_interval 1800") as one:
        yield one


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components._mqtt.session.FIRST_DELAY", 0.02)
    monkeypatch.setattr("components._mqtt.session.LONGEST_DELAY", 0.1)


def cuts(steps: tuple[tuple[int, bool], ...]) -> list[Cut]:
    return [Cut(kind, upward, passed) for kind, upward in steps for passed in (False, True)]


@asynccontextmanager
async def over(link: Proxy, type_: str, folder: Path, **raw: str) -> AsyncIterator[Any]:
    async with link, opened(type_, folder, {"url": f"tcp://127.0.0.1:{link.port}", "consumerID": folder.name, **raw}) as pubsub:
        yield pubsub


# --- cuts in the middle of handshakes
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("type_", BOTH)
async def test_cuts_at_every_step_of_publishing_lose_nothing(type_: str, qos: int, tmp_path: Path, broker: Broker, quick: None) -> None:
    topic, link = f"out/{tmp_path.name}", Scissors(broker.port, cuts(OUT[qos]))
    with plain(broker.port) as reader:
        reader.subscribe(topic, 2)
        async with over(link, type_, tmp_path, qos=str(qos)) as pubsub:
            sending = []
            while link.cuts:
                sending.append(asyncio.create_task(pubsub.publish(Message(topic, b"%d" % len(sending)))))
                await asyncio.sleep(0.005)
            await asyncio.wait_for(asyncio.gather(*sending), 30)
        await until(lambda: len(set(reader.payloads())) == len(sending))

    firsts = [int(payload) for payload in dict.fromkeys(reader.payloads())]
    assert firsts == sorted(firsts)
    if qos == 2:
        assert len(reader.got) == len(sending)


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("type_", BOTH)
async def test_cuts_at_every_step_of_receiving_lose_nothing(type_: str, qos: int, tmp_path: Path, broker: Broker, quick: None) -> None:
    topic, link = f"in/{tmp_path.name}", Scissors(broker.port, cuts(IN[qos]))
    with plain(broker.port) as sensor:
        async with over(link, type_, tmp_path, qos=str(qos)) as pubsub:
            sink, sent = Sink(), 0
            await pubsub.subscribe(topic, sink, {}, "app")
            await until(lambda: pubsub.unhealthy() is None)
            while link.cuts:
                sensor.client.publish(topic, b"%d" % sent, qos)
                sent += 1
                await asyncio.sleep(0.005)
            await until(lambda: len(set(sink.payloads)) == sent, 30)

    firsts = [int(payload) for payload in dict.fromkeys(sink.payloads)]
    assert firsts == list(range(sent))
    if qos == 2:
        assert len(sink.got) == sent


# --- dead and slow links
@pytest.mark.parametrize("type_", BOTH)
async def test_a_half_open_connection_is_noticed(type_: str, tmp_path: Path, broker: Broker, quick: None) -> None:
    link = Proxy(broker.port)
    async with over(link, type_, tmp_path, keepAlive="1s") as pubsub:
        await pubsub.publish(Message("half", b"before"))
        link.frozen = True
        stuck = asyncio.create_task(pubsub.publish(Message("half", b"through")))
        await until(lambda: bool(pubsub.unhealthy()), 15)
        assert "has not answered a ping" in pubsub.unhealthy()
        link.cut()
        link.frozen = False
        await asyncio.wait_for(stuck, 15)


@pytest.mark.parametrize("type_", BOTH)
async def test_a_backlog_on_a_slow_link_is_no_dead_link(type_: str, tmp_path: Path, broker: Broker) -> None:
    link = Proxy(broker.port)
    link.rate = 25_000.0
    async with over(link, type_, tmp_path, keepAlive="1s") as pubsub:
        sending = [pubsub.publish(Message("slow", b"x" * 2000)) for _ in range(40)]
        await asyncio.wait_for(asyncio.gather(*sending), 30)
        assert (link.connections, pubsub.unhealthy()) == (1, None)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("type_", BOTH)
async def test_50_kbit_for_minutes_without_a_keep_alive_timeout(type_: str, tmp_path: Path, broker: Broker) -> None:
    link = Proxy(broker.port)
    link.rate = 6250.0
    async with over(link, type_, tmp_path, keepAlive="5s") as pubsub:
        sending = [pubsub.publish(Message("slow", b"x" * 2000)) for _ in range(400)]
        await asyncio.wait_for(asyncio.gather(*sending), 360)
        assert (link.connections, pubsub.unhealthy()) == (1, None)


async def outages(link: Proxy, on: float, off: float, times: int) -> None:
    """The link works and is gone in turn; while it is gone connections are swallowed or refused."""
    for number in range(times):
        await asyncio.sleep(on)
        if number % 2:
            link.frozen = True
            await asyncio.sleep(off)
            link.frozen = False
        else:
            link.gone = True
            link.cut()
            await asyncio.sleep(off)
            link.gone = False
        link.cut()


async def ledger(folder: Path, broker: Broker, type_: str, on: float, off: float, times: int, pause: float) -> tuple[int, list[int]]:
    """Publish through outages, with a journal; how many were accepted, and what arrived."""
    link, topic, accepted = Proxy(broker.port), f"ledger/{folder.name}", 0
    with plain(broker.port) as reader:
        reader.subscribe(topic)
        raw = {"consumerID": folder.name, "keepAlive": "2s"}
        async with link, rig(folder, {"bus": (type_, raw | {"url": f"tcp://127.0.0.1:{link.port}"})}) as made:
            outage = asyncio.create_task(outages(link, on, off, times))
            while not outage.done():
                await made.publish("bus", topic, b"%d" % accepted, "text/plain", rawPayload="true")
                accepted += 1
                await asyncio.sleep(pause)
            await until(lambda: made.pending("out/") == 0, 90)
            assert made.pending("dead/") == 0
        await until(lambda: len(set(reader.payloads())) >= accepted)
    return accepted, [int(payload) for payload in reader.payloads()]


@pytest.mark.parametrize("type_", BOTH)
async def test_outages_lose_nothing_and_keep_the_order(type_: str, tmp_path: Path, broker: Broker, quick: None) -> None:
    accepted, got = await ledger(tmp_path, broker, type_, 0.15, 0.15, 6, 0.002)
    assert list(dict.fromkeys(got)) == list(range(accepted))


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("on", "off", "times"), [(5.0, 5.0, 8), (2.0, 25.0, 4)])
async def test_long_outages_lose_nothing_and_keep_the_order(on: float, off: float, times: int, tmp_path: Path, broker: Broker) -> None:
    accepted, got = await ledger(tmp_path, broker, "pubsub.mqtt5", on, off, times, 0.02)
    print(f"\n{on:g} s on, {off:g} s off, {times} times: accepted {accepted}, arrived {len(set(got))}, repeated {len(got) - len(set(got))}")
    assert list(dict.fromkeys(got)) == list(range(accepted))


# --- etiquette
async def test_sessions_that_end_at_once_are_tried_less_and_less(tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components._mqtt.session.FIRST_DELAY", 0.04)
    link = Scissors(broker.port, [Cut(CONNACK, False, passed=True, skip=0) for _ in range(9)])
    times: list[float] = []
    async with over(link, "pubsub.mqtt5", tmp_path):
        while len(times) < 6:
            await until(lambda: link.connections > len(times))
            times.append(time.monotonic())

    assert times[-1] - times[0] >= 0.02 * sum(2**number for number in range(4)), times  # the first may have been noticed late


@pytest.mark.parametrize("type_", BOTH)
async def test_two_clients_with_one_id_are_told(type_: str, tmp_path: Path, broker: Broker, quick: None, caplog: Any) -> None:
    raw = {"url": broker.url, "consumerID": "twin"}
    async with opened(type_, tmp_path, raw) as one, opened(type_, tmp_path, raw) as two:
        both = (one, two)
        await until(lambda: any("another client" in (each.unhealthy() or "") for each in both), 20)
        told = next(text for each in both if "another client" in (text := each.unhealthy() or ""))
    assert "twin" in told and "consumerID" in told
    assert "another client seems to use the client id twin" in caplog.text


# --- the broker's limits
async def test_a_message_larger_than_the_broker_takes_is_dead_and_blocks_nothing(tmp_path: Path, quick: None) -> None:
    with mosquitto(tmp_path, "max_packet_size 3000", start=False) as broker:
        raw = {"url": broker.url, "consumerID": "large", "durability": "journal"}
        async with rig(tmp_path, {"three": ("pubsub.mqtt3", raw | {"consumerID": "l3"}), "five": ("pubsub.mqtt5", raw)}) as made:
            for name in ("three", "five"):
                for topic in ("a", "b"):
                    await made.publish(name, f"{name}/{topic}", b"1" * 5000, "text/plain")
                    await made.publish(name, f"{name}/{topic}", b"2" * 10, "text/plain")
            broker.start()
            with plain(broker.port) as reader:
                reader.subscribe("three/#")
                reader.subscribe("five/#")
                await until(lambda: len(reader.got) >= 4, 30)
                await until(lambda: made.pending("dead/") == 4, 30)
                await until(lambda: made.pending("out/") == 0)
            five = next(part.component for part in made.opened if part.name == "five")
            with pytest.raises(Invalid, match="takes packets of 3000"):
                await five.publish(Message("five/c", b"1" * 3000))
            await five.publish(Message("five/c", b"1" * (3000 - len("five/c") - 8)))


async def test_quota_exceeded_is_tried_again_and_refusals_are_not(tmp_path: Path) -> None:
    async with Scripted(puback=deque([0x97, 0x87])) as broker:
        async with opened("pubsub.mqtt5", tmp_path, {"url": f"tcp://127.0.0.1:{broker.port}", "consumerID": "q"}) as pubsub:
            with pytest.raises(Unavailable, match=r"Quota exceeded \(0x97\)"):
                await pubsub.publish(Message("t", b"1"))
            with pytest.raises(Invalid, match=r"the broker refused the message for t: Not authorized \(0x87\)"):
                await pubsub.publish(Message("t", b"1"))
            await pubsub.publish(Message("t", b"1"))
            assert pubsub.reasons() == {("PUBACK", "0x97"): 1, ("PUBACK", "0x87"): 1}


async def test_what_the_broker_says_is_in_the_metrics(tmp_path: Path) -> None:
    async with Scripted(puback=deque([0x10, 0x97])) as broker:
        raw = {"url": f"tcp://127.0.0.1:{broker.port}", "consumerID": "q", "durability": "broker"}
        sidecar = Sidecar(tmp_path, resources={"wire.yaml": component("wire", "pubsub.mqtt5", raw)})
        try:
            await asyncio.to_thread(sidecar.start)
            for _ in range(2):
                await asyncio.to_thread(sidecar.call, "POST", "/v1.0/publish/wire/t", b"x")
            sidecar.http_port = sidecar.metrics_port
            text = (await asyncio.to_thread(sidecar.call, "GET", "/")).body.decode()
        finally:
            await asyncio.to_thread(sidecar.kill)

    for code in ("0x10", "0x97"):
        assert f'edged_mqtt_reason_codes_total{{app_id="test",code="{code}",component="wire",packet="PUBACK"}} 1' in text


async def test_quota_exceeded_loses_nothing_behind_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr("edge.blocks.outbox_broker.FIRST_DELAY", 0.05)
    async with Scripted(puback=deque([0x97, 0x97, 0, 0x97])) as broker:
        raw = {"url": f"tcp://127.0.0.1:{broker.port}", "consumerID": "q"}
        async with rig(tmp_path, {"bus": ("pubsub.mqtt5", raw)}) as made:
            for number in range(5):
                await made.publish("bus", "t", b"%d" % number, "text/plain")
            await until(lambda: len(broker.published) >= 8 and made.pending("out/") == 0)
            assert made.pending("dead/") == 0
    assert caplog.text.count("Quota exceeded") == 1


async def test_what_the_broker_cannot_take_now_has_a_row_before_its_answer(tmp_path: Path) -> None:
    async with Scripted(puback=deque([0x97])) as broker:
        raw = {"url": f"tcp://127.0.0.1:{broker.port}", "consumerID": "q"}
        async with rig(tmp_path, {"bus": ("pubsub.mqtt5", raw)}) as made:
            await until(lambda: made.opened[0].component.unhealthy() is None)
            await made.publish("bus", "t", b"1", "text/plain")
            assert made.pending("out/") == 1
            await until(lambda: len(broker.published) == 2 and made.pending("out/") == 0)


async def test_what_is_refused_for_now_comes_again_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.outbox_broker.FIRST_DELAY", 0.05)
    async with Scripted(puback=deque([0x97] * 3)) as broker:
        raw = {"url": f"tcp://127.0.0.1:{broker.port}", "consumerID": "q"}
        async with rig(tmp_path, {"bus": ("pubsub.mqtt5", raw)}) as made:
            await until(lambda: made.opened[0].component.unhealthy() is None)
            await asyncio.gather(*(made.publish("bus", "t", b"%d" % number, "text/plain", rawPayload="true") for number in range(3)))
            await until(lambda: len(broker.published) >= 6 and made.pending("out/") == 0)

    assert [int(packet[-1:]) for _, _, packet in broker.published] == [0, 1, 2, 0, 1, 2]


async def test_the_receive_maximum_and_the_aliases_of_the_broker_are_kept_to(tmp_path: Path) -> None:
    receive_maximum, alias_maximum = b"\x21\x00\x03", b"\x22\x00\x02"
    async with Scripted(connack=receive_maximum + alias_maximum, slow=0.005) as broker:
        async with opened("pubsub.mqtt5", tmp_path, {"url": f"tcp://127.0.0.1:{broker.port}", "consumerID": "r"}) as pubsub:
            await asyncio.gather(*(pubsub.publish(Message(f"topic/{number % 3}", b"x", {}, "text/plain")) for number in range(30)))

    assert broker.most_unanswered == 3
    named = [topic for _, topic, _ in broker.published]
    assert [named.count(f"topic/{number}".encode()) for number in range(3)] == [1, 1, 10]
    assert named.count(b"") == 18


async def test_aliases_of_the_broker_are_understood(tmp_path: Path) -> None:
    async with Scripted() as broker:
        async with opened("pubsub.mqtt5", tmp_path, {"url": f"tcp://127.0.0.1:{broker.port}", "consumerID": "a", "qos": "0"}) as pubsub:
            sink = Sink()
            await pubsub.subscribe("plant/+", sink, {}, "app")
            await until(lambda: pubsub.unhealthy() is None)
            assert broker.writer is not None
            broker.writer.write(b"\x30\x0d\x00\x07plant/7\x03\x23\x00\x01" + b"\x30\x07\x00\x00\x03\x23\x00\x01x")
            await until(lambda: len(sink.got) == 2)
            assert (sink.topics, sink.payloads) == (["plant/7", "plant/7"], [b"", b"x"])


# --- versions
async def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1_where_allowed(tmp_path: Path, quick: None) -> None:
    async with Scripted(only_version=4) as broker:
        raw = {"url": f"tcp://127.0.0.1:{broker.port}", "consumerID": "v"}
        async with opened("pubsub.mqtt5", tmp_path, raw | {"protocolVersion": "auto"}) as pubsub:
            await asyncio.wait_for(pubsub.publish(Message("t", b"x", {"site": "nord"})), 10)
            assert broker.connects[:2] == [5, 4]
            assert broker.published == [(0x32, b"t", b"x")]
        async with opened("pubsub.mqtt5", tmp_path, raw) as pubsub:
            await until(lambda: "protocolVersion" in (pubsub.unhealthy() or ""))


async def test_a_broker_for_quality_zero_only_is_refused(tmp_path: Path) -> None:
    async with Scripted(connack=b"\x24\x00") as broker:
        async with opened("pubsub.mqtt5", tmp_path, {"url": f"tcp://127.0.0.1:{broker.port}", "consumerID": "z"}) as pubsub:
            await until(lambda: "QoS 0 only" in (pubsub.unhealthy() or ""))
            with suppress(TimeoutError):
                await asyncio.wait_for(pubsub.publish(Message("t", b"x")), 0.05)
                pytest.fail("published")


async def test_a_broker_that_restarts_is_no_second_client(tmp_path: Path, quick: None) -> None:
    with mosquitto(tmp_path) as broker, pytest.MonkeyPatch.context() as patch:
        patch.setattr("components._mqtt.session.FIRST_DELAY", 0.01)
        async with opened("pubsub.mqtt3", tmp_path, {"url": broker.url, "consumerID": "alone"}) as pubsub:
            for _ in range(4):
                await until(lambda: pubsub.unhealthy() is None)
                await asyncio.to_thread(broker.kill)
                await until(lambda: "Connect call failed" in (pubsub.unhealthy() or ""))
                await asyncio.to_thread(broker.start)
            await until(lambda: pubsub.unhealthy() is None)
