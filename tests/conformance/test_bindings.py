"""The bindings suite over the components of the catalogue, on real servers and devices."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from edge.registry import known
from tests.apps import Answer, ScriptedApp
from tests.conformance.bindings import SCENARIOS, Call, Candidate, Suite
from tests.harness import free_port
from tests.harness_components import opened
from tests.harness_mqtt import MOSQUITTO, Broker, mosquitto, plain

Ask = Callable[[str], Any]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if not Path(MOSQUITTO).exists():
        pytest.skip("mosquitto is not installed")
    with mosquitto(tmp_path_factory.mktemp("mqtt")) as one:
        yield one


def over(type_: str, folder: Path, raw: dict[str, str], absent: dict[str, str], *, away: bool = False) -> Any:
    return opened(type_, folder, raw | (absent if away else {}))


async def _nothing() -> None:
    """Its events come by themselves."""


def http(ask: Ask, folder: Path) -> Candidate:
    @asynccontextmanager
    async def open_(*, away: bool = False) -> AsyncIterator[Any]:
        async with ScriptedApp(default=Answer(200, b"made")) as server:
            url = f"http://127.0.0.1:{free_port()}" if away else server.url
            async with opened("bindings.http", folder, {"url": url}) as binding:
                yield binding

    return Candidate("bindings.http", open_, (Call("create", b"1", gives=b"made"), Call("get", gives=b"made")), has_server=True)


def localstorage(ask: Ask, folder: Path) -> Candidate:
    name = (("fileName", "a/b.txt"),)
    calls = (
        Call("create", b'"some words"', name, b"a/b.txt"),
        Call("get", b"", name, b"some words"),
        Call("list", b"", (), b"a/b.txt"),
        Call("delete", b"", name),
    )
    return Candidate("bindings.localstorage", partial(over, "bindings.localstorage", folder, {"rootPath": str(folder / "f")}, {}), calls)


def redis(ask: Ask, folder: Path) -> Candidate:
    key = (("key", uuid4().hex),)
    calls = (Call("create", b"41", key), Call("increment", b"", key), Call("get", b"", key, b"42"), Call("delete", b"", key))
    absent = {"redisHost": f"127.0.0.1:{free_port()}", "dialTimeout": "200ms"}
    return Candidate("bindings.redis", partial(over, "bindings.redis", folder, {"redisHost": ask("redis").host}, absent), calls, None, True)


def _sql(table: str) -> tuple[Call, ...]:
    def call(operation: str, sql: str, gives: bytes | None = None) -> Call:
        return Call(operation, b"", (("sql", sql),), gives)

    made = call("exec", f"CREATE TABLE IF NOT EXISTS {table}(x integer)")
    return made, call("exec", f"INSERT INTO {table} VALUES (7)"), call("query", f"SELECT x FROM {table}", b"[7]")


def postgresql(ask: Ask, folder: Path) -> Candidate:
    raw, absent = {"connectionString": ask("postgres").url}, {"connectionString": f"postgres://u@127.0.0.1:{free_port()}/d"}
    calls = _sql(f"t{uuid4().hex[:8]}")[1:]
    made = Call("exec", b"", (("sql", f"CREATE TABLE {dict(calls[0].metadata)['sql'].split()[2]}(x integer)"),))
    one = partial(over, "bindings.postgresql", folder, raw, absent)
    alive = Call("query", b"", (("sql", "SELECT 1"),), b"1")
    return Candidate("bindings.postgresql", one, (alive, made, *calls), None, True)


def sqlite(ask: Ask, folder: Path) -> Candidate:
    return Candidate("bindings.sqlite", partial(over, "bindings.sqlite", folder, {"connectionString": str(folder / "d.db")}, {}), _sql("t"))


def cron(ask: Ask, folder: Path) -> Candidate:
    return Candidate("bindings.cron", partial(over, "bindings.cron", folder, {"schedule": "@every 20ms"}, {}), (), _nothing)


def host(ask: Ask, folder: Path) -> Candidate:
    raw = {"schedule": "@every 20ms", "readings": "memory"}
    return Candidate("bindings.host", partial(over, "bindings.host", folder, raw, {}), (Call("get", gives=b"memory"),), _nothing)


def mqtt3(ask: Ask, folder: Path) -> Candidate:
    return _mqtt("bindings.mqtt3", ask, folder)


def mqtt5(ask: Ask, folder: Path) -> Candidate:
    return _mqtt("bindings.mqtt5", ask, folder)


def _mqtt(type_: str, ask: Ask, folder: Path) -> Candidate:
    broker: Broker = ask("broker")
    topic = f"t/{uuid4().hex}"

    async def nudge() -> None:
        def publish() -> None:
            with plain(broker.port) as sensor:
                sensor.publish(topic, b"x")

        await asyncio.to_thread(publish)

    raw = {"url": broker.url, "topic": topic, "consumerID": uuid4().hex}
    one = partial(over, type_, folder, raw, {"url": f"tcp://127.0.0.1:{free_port()}"})
    return Candidate(type_, one, (Call("create", b"x"),), nudge, True)


def serial(ask: Ask, folder: Path) -> Candidate:
    pytest.importorskip("serial")
    device, name = ask("pty")

    async def nudge() -> None:
        os.write(device, b"21.5\n")

    one = partial(over, "bindings.serial", folder, {"port": name}, {"port": str(folder / "ttyUSB9")})
    return Candidate("bindings.serial", one, (Call("create", b"ON"),), nudge, True)


def smtp(ask: Ask, folder: Path) -> Candidate:
    port = ask("mail_port")
    raw = {"host": "127.0.0.1", "port": str(port), "emailFrom": "a@example.com", "emailTo": "b@example.com", "subject": "s"}
    one = partial(over, "bindings.smtp", folder, raw, {"port": str(free_port())})
    return Candidate("bindings.smtp", one, (Call("create", b"hello"),), None, True)


@pytest.fixture
def pty() -> Iterator[tuple[int, str]]:
    device, port = os.openpty()
    yield device, os.ttyname(port)
    for one in (device, port):
        os.close(one)


@pytest.fixture(scope="module")
def mail_port() -> Iterator[int]:
    controller_module = pytest.importorskip("aiosmtpd.controller")
    from aiosmtpd.handlers import Sink

    controller = controller_module.Controller(Sink(), hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller.port
    controller.stop()


MAKERS = (cron, host, http, localstorage, mqtt3, mqtt5, postgresql, redis, serial, smtp, sqlite)
CANDIDATES = {f"bindings.{maker.__name__}/v1": maker for maker in MAKERS}


def test_every_binding_of_the_catalogue_is_here() -> None:
    assert sorted(CANDIDATES) == sorted(name for name in known() if name.startswith("bindings."))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("component", CANDIDATES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_binding(component: str, scenario: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    one = CANDIDATES[component](request.getfixturevalue, tmp_path)
    asyncio.run(getattr(Suite(), scenario)(one))
