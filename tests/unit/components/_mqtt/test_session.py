"""An MQTT session against a real broker: TLS and logins, groups, retained messages, links that cut, and what an operator gets wrong."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import Invalid, Unavailable
from edge.model import Message
from tests.authority import authority
from tests.harness import free_port
from tests.harness_components import Sink, opened
from tests.harness_mqtt import MOSQUITTO, Broker, Proxy, mosquitto, needs_mosquitto, plain, until

pytestmark = [needs_mosquitto, pytest.mark.mosquitto]
TYPE = "pubsub.mqtt3"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with mosquitto(tmp_path_factory.mktemp("mqtt")) as one:
        yield one


# --- TLS and logins
async def test_tls_with_client_certificates(tmp_path: Path) -> None:
    ca, other = authority(), authority()
    certificate, key = ca.issue("localhost")
    files = {"ca.pem": ca.pem, "server.pem": certificate, "server.key": key}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    port = free_port()
    lines = (
        f"listener {port} 127.0.0.1",
        *(f"{name} {tmp_path / file}" for name, file in (("cafile", "ca.pem"), ("certfile", "server.pem"), ("keyfile", "server.key"))),
    )
    client, client_key = ca.issue("edge-7")
    with mosquitto(tmp_path, *lines, "require_certificate true", "allow_anonymous true"):
        raw = {"url": f"ssl://localhost:{port}", "caCert": ca.pem, "clientCert": client, "clientKey": client_key, "consumerID": "tls"}
        async with opened(TYPE, tmp_path, raw) as pubsub:
            sink = Sink()
            await pubsub.subscribe("t", sink, {}, "app")
            await asyncio.wait_for(pubsub.publish(Message("t", b"sealed")), 10)
            await until(lambda: sink.payloads == [b"sealed"])
        for wrong in ({"caCert": other.pem}, {"clientCert": "", "clientKey": ""}):
            async with opened(TYPE, tmp_path, {**raw, **wrong, "qos": "0"}) as pubsub:
                await until(lambda: bool(pubsub.unhealthy()))
                with pytest.raises(Unavailable):
                    await pubsub.publish(Message("t", b"x"))


async def test_a_login_is_told_right_from_wrong_without_the_password(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run([str(Path(MOSQUITTO).parent.parent / "bin/mosquitto_passwd"), "-c", "-b", str(passwords), "ann", "sesame"], check=True)
    with mosquitto(tmp_path, f"password_file {passwords}") as broker:
        port = broker.port
        async with opened(TYPE, tmp_path, {"url": f"mqtt://ann:sesame@127.0.0.1:{port}", "consumerID": "a"}) as pubsub:
            await asyncio.wait_for(pubsub.publish(Message("t", b"x")), 10)
        async with opened(TYPE, tmp_path, {"url": f"mqtt://ann:wrong@127.0.0.1:{port}", "consumerID": "b"}) as pubsub:
            await until(lambda: bool(pubsub.unhealthy()))
            assert "wrong" not in pubsub.unhealthy()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"url": "http://localhost"}, "http"),
        ({"url": "tcp://"}, "url|host|address"),
        ({"url": "ssl://localhost", "caCert": "no pem"}, "."),
        ({"url": "ssl://localhost", "clientCert": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----", "clientKey": "x"}, "."),
    ],
)
async def test_what_cannot_work_is_refused_at_the_start(tmp_path: Path, raw: dict[str, str], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        async with opened(TYPE, tmp_path, raw):
            pass


# --- messages
async def test_a_shared_subscription_splits_the_messages(tmp_path: Path, broker: Broker) -> None:
    async with (
        opened(TYPE, tmp_path, {"url": broker.url, "consumerID": "one"}) as one,
        opened(TYPE, tmp_path, {"url": broker.url, "consumerID": "two"}) as two,
    ):
        first, second = Sink(), Sink()
        await one.subscribe("$share/g/split/+", first, {}, "app")
        await two.subscribe("$share/g/split/+", second, {}, "app")
        await until(lambda: one.unhealthy() is None and two.unhealthy() is None)
        await asyncio.sleep(0.05)
        with plain(broker.port) as sensor:
            sensor.publish("split/a", *[str(number) for number in range(40)])
        await until(lambda: len(first.got) + len(second.got) == 40)

    assert first.got and second.got
    assert {*first.payloads, *second.payloads} == {str(number).encode() for number in range(40)}
    assert set(first.topics) == {"split/a"}


async def test_retained_messages_are_marked(tmp_path: Path, broker: Broker) -> None:
    async with opened(TYPE, tmp_path, {"url": broker.url, "consumerID": "keeper", "retain": "true"}) as pubsub:
        await pubsub.publish(Message("kept/a", b"21", {}))
        await pubsub.publish(Message("kept/b", b"no", {"retain": "false"}))
        sink = Sink()
        await pubsub.subscribe("kept/#", sink, {}, "app")
        await until(lambda: len(sink.got) == 1)
        await pubsub.publish(Message("kept/a", b"22"))
        await until(lambda: len(sink.got) == 2)
        with pytest.raises(Invalid, match="mqtt invalid retain maybe"):
            await pubsub.publish(Message("kept/a", b"x", {"retain": "maybe"}))

    assert [(message.data, message.metadata["retained"]) for message in sink.got] == [(b"21", "true"), (b"22", "false")]


async def test_overlapping_filters_each_get_their_message(tmp_path: Path, broker: Broker) -> None:
    async with opened(TYPE, tmp_path, {"url": broker.url, "consumerID": "overlap"}) as pubsub:
        exact, wild = Sink(), Sink()
        await pubsub.subscribe("over/lap", exact, {}, "app")
        await pubsub.subscribe("over/#", wild, {}, "app")
        await pubsub.publish(Message("over/lap", b"x"))
        await until(lambda: bool(exact.got) and bool(wild.got))


async def test_a_link_that_cuts_loses_nothing_and_keeps_the_order(tmp_path: Path, broker: Broker) -> None:
    async with Proxy(broker.port) as link:
        raw = {"url": f"tcp://127.0.0.1:{link.port}", "consumerID": "cutter"}
        async with opened(TYPE, tmp_path, raw) as pubsub:
            sink = Sink()
            await pubsub.subscribe("cut/t", sink, {}, "app")
            await until(lambda: pubsub.unhealthy() is None)
            sending = [asyncio.create_task(pubsub.publish(Message("cut/t", b"%d" % number))) for number in range(60)]
            for _ in range(2):
                await asyncio.sleep(0.02)
                link.cut()
                await until(lambda: pubsub.unhealthy() is None)
            await asyncio.wait_for(asyncio.gather(*sending), 30)
            await until(lambda: len(set(sink.payloads)) == 60, 30)

    firsts = list(dict.fromkeys(int(payload) for payload in sink.payloads))
    assert firsts == list(range(60))


@pytest.mark.parametrize("type_", ["pubsub.mqtt3", "pubsub.mqtt5"])
async def test_what_comes_while_nobody_is_here_is_kept_by_the_broker(type_: str, tmp_path: Path, broker: Broker) -> None:
    raw = {"url": broker.url, "consumerID": f"away-{type_}"}
    async with opened(type_, tmp_path, raw) as pubsub:
        await pubsub.subscribe("away/t", Sink(), {}, "app")
        await until(lambda: pubsub.unhealthy() is None)
    with plain(broker.port) as sensor:
        for n in range(5):
            sensor.publish("away/t", b"%d" % n, qos=1)
    async with opened(type_, tmp_path, raw) as pubsub:
        sink = Sink()
        await pubsub.subscribe("away/t", sink, {}, "app")
        await until(lambda: len(sink.payloads) == 5)
        assert sink.payloads == [b"%d" % n for n in range(5)]


async def test_nothing_is_acknowledged_before_it_was_taken(tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components._mqtt.session.GRACE", 0.05)
    raw = {"url": broker.url, "consumerID": "careful"}
    async with opened(TYPE, tmp_path, raw) as pubsub:
        stuck = Sink()
        stuck.gate.clear()
        await pubsub.subscribe("care/t", stuck, {}, "app")
        await until(lambda: pubsub.unhealthy() is None)
        with plain(broker.port) as sensor:
            sensor.publish("care/t", b"1", b"2")
        await until(lambda: stuck.attempts == 2)

    async with opened(TYPE, tmp_path, raw) as pubsub:
        sink = Sink()
        await pubsub.subscribe("care/t", sink, {}, "app")
        await until(lambda: sink.payloads == [b"1", b"2"])


async def test_quality_zero_says_that_nobody_is_there(tmp_path: Path) -> None:
    async with opened(TYPE, tmp_path, {"url": f"tcp://127.0.0.1:{free_port()}", "qos": "0"}) as pubsub:
        with pytest.raises(Unavailable):
            await pubsub.publish(Message("t", b"x"))


# --- the binding
async def test_the_binding_reads_and_writes(tmp_path: Path, broker: Broker) -> None:
    raw = {"url": broker.url, "topic": "fan/+/POWER", "consumerID": "fan"}
    async with opened("bindings.mqtt3", tmp_path, raw) as binding:
        got = []

        async def deliver(event):  # type: ignore[no-untyped-def]
            got.append(event)

        stop = await binding.read(deliver)
        await until(lambda: binding.unhealthy() is None)
        await asyncio.sleep(0.05)
        assert await binding.invoke("create", b'"ON"', {"topic": "fan/1/POWER"}) is None
        await until(lambda: bool(got))
        await stop()

    assert (got[0].data, got[0].metadata["topic"]) == (b'"ON"', "fan/1/POWER")
