"""A broker that is away, before the start or in the middle: no publish fails, nothing is lost, order is kept."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.apps import Answer, ScriptedApp
from tests.harness import Sidecar, component, free_port
from tests.harness_brokers import NATS, RABBIT, Nats, Rabbit
from tests.harness_components import Sink, opened
from tests.harness_kafka import Kafka, needs_kafka
from tests.harness_mqtt import until
from tests.harness_servers import REDIS, Redis
from tests.rig import rig

# a connection that is cancelled while it is made is forgotten by redis-py, not closed
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("forgotten"),
]


class RedisBroker:
    """A Redis that is started and killed on the same port, with its data kept."""

    type = "pubsub.redis"

    def __init__(self, folder: Path) -> None:
        self.server = Redis(folder, free_port(), ("--appendfsync", "always"))
        self.raw = {"redisHost": self.server.host, "dialTimeout": "500ms"}

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)

    async def kill(self) -> None:
        assert self.server.process is not None
        self.server.process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self.server.process.wait)


class NatsBroker:
    """A NATS server with one durable stream."""

    type = "pubsub.jetstream"

    def __init__(self, folder: Path) -> None:
        self.server = Nats(folder)
        self.raw = {"natsURL": self.server.url, "durableName": "app"}

    async def start(self) -> None:
        import nats

        await asyncio.to_thread(self.server.start)
        async with await nats.connect(self.server.url) as plain:
            await plain.jetstream().add_stream(name="all", subjects=["t"])

    async def kill(self) -> None:
        await asyncio.to_thread(self.server.stop, signal.SIGKILL)


class RabbitBroker:
    """A RabbitMQ whose exchanges and queues stay."""

    type = "pubsub.rabbitmq"

    def __init__(self, folder: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="edged-rabbitmq-"))
        self.server = Rabbit(self.folder)
        self.raw = {"connectionString": self.server.url, "deletedWhenUnused": "false", "reconnectWaitSeconds": "1"}

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)

    async def kill(self) -> None:
        await asyncio.to_thread(self.server.stop, signal.SIGKILL)


class KafkaBroker:
    """A Kafka that keeps its topics; the group begins at the start of each."""

    type = "pubsub.kafka"

    def __init__(self, folder: Path) -> None:
        self.server = Kafka(folder)
        self.raw = {"brokers": self.server.brokers, "authType": "none", "initialOffset": "oldest"}

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)

    async def kill(self) -> None:
        await asyncio.to_thread(self.server.stop, signal.SIGKILL)


BROKERS = [
    pytest.param(RedisBroker, marks=pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")),
    pytest.param(NatsBroker, marks=pytest.mark.skipif(NATS is None, reason="nats-server is not installed")),
    pytest.param(RabbitBroker, marks=[pytest.mark.skipif(RABBIT is None, reason="rabbitmq-server is not installed"), pytest.mark.slow]),
    pytest.param(KafkaBroker, marks=[needs_kafka, pytest.mark.slow]),
]


MORE = {
    "pubsub.redis": {"processingTimeout": "1000"},
    "pubsub.jetstream": {"ackWait": "1s"},
    "pubsub.rabbitmq": {},
    "pubsub.kafka": {"sessionTimeout": "6s"},
}


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    one = request.param(tmp_path / "broker")
    yield one
    one.server.stop(signal.SIGKILL) if not isinstance(one, RedisBroker) else one.server.stop()
    if isinstance(one, RabbitBroker):
        shutil.rmtree(one.folder, ignore_errors=True)


@pytest.mark.parametrize("broker", BROKERS, indirect=True)
async def test_published_before_the_broker_ever_was(broker: Any, tmp_path: Path) -> None:
    subscribed = [{"pubsubname": "bus", "topic": "t", "route": "/t"}]
    async with rig(tmp_path, {"bus": (broker.type, broker.raw)}, subscribed) as one:
        await one.start()
        for number in range(20):
            await one.publish("bus", "t", b'{"n":%d}' % number)
        assert one.pending("out/") == 20
        assert one.parts.find("pubsub", "bus", one.app).component.unhealthy()  # type: ignore[union-attr]

        await broker.start()
        await one.server.until(lambda: len(one.server.on("/t")) == 20, 30)

    assert [seen.json()["data"]["n"] for seen in one.server.on("/t")] == list(range(20))


@pytest.mark.parametrize("broker", BROKERS, indirect=True)
async def test_a_broker_killed_in_the_middle(broker: Any, tmp_path: Path) -> None:
    await broker.start()
    subscribed = [{"pubsubname": "bus", "topic": "t", "route": "/t"}]
    async with rig(tmp_path, {"bus": (broker.type, broker.raw)}, subscribed) as one:
        await one.start()
        for number in range(90):
            if number == 30:
                await broker.kill()
            if number == 60:
                await broker.start()
            await one.publish("bus", "t", b'{"n":%d}' % number)
        await one.server.until(lambda: len({seen.body for seen in one.server.on("/t")}) == 90, 40)

    got = [seen.json()["data"]["n"] for seen in one.server.on("/t")]
    assert list(dict.fromkeys(got)) == list(range(90))


@pytest.mark.parametrize("broker", BROKERS, indirect=True)
async def test_what_nobody_acknowledged_comes_again(broker: Any, tmp_path: Path) -> None:
    await broker.start()
    more = MORE[broker.type]
    async with opened(broker.type, tmp_path, broker.raw | more) as pubsub:
        stuck = Sink()
        stuck.gate.clear()
        await pubsub.subscribe("t", stuck, {}, "app")
        from edge.model import Message

        await pubsub.publish(Message("t", b"x", id="1"))
        await until(lambda: stuck.attempts == 1)
        for consumer in (*getattr(pubsub, "_readers", ()), *getattr(pubsub, "_consumers", ())):
            await consumer._window.close(0)  # as if killed: no acknowledgement, no farewell

    async with opened(broker.type, tmp_path, broker.raw | more) as pubsub:
        sink = Sink()
        await pubsub.subscribe("t", sink, {}, "app")
        await until(lambda: sink.payloads == [b"x"], 15)


@pytest.mark.parametrize("broker", BROKERS[2:3], indirect=True)
async def test_persistent_messages_outlive_the_broker(broker: RabbitBroker, tmp_path: Path) -> None:
    from edge.model import Message

    await broker.start()
    raw = broker.raw | {"deliveryMode": "2"}
    async with opened(broker.type, tmp_path, raw) as pubsub:
        await pubsub.subscribe("t", Sink(), {}, "app")  # its queue stays
    async with opened(broker.type, tmp_path, raw) as pubsub:
        for number in range(5):
            await asyncio.wait_for(pubsub.publish(Message("t", b"%d" % number, id=str(number))), 10)
    await broker.kill()
    await broker.start()
    async with opened(broker.type, tmp_path, raw) as pubsub:
        sink = Sink()
        await pubsub.subscribe("t", sink, {}, "app")
        await until(lambda: len(sink.payloads) == 5, 15)
        assert sink.payloads == [b"%d" % number for number in range(5)]


@pytest.mark.skipif(NATS is None, reason="nats-server is not installed")
async def test_where_one_acknowledgement_is_for_all_before_there_is_one_delivery_at_a_time(tmp_path: Path) -> None:
    from edge.model import Message

    broker = NatsBroker(tmp_path / "broker")
    try:
        await broker.start()
        async with opened(broker.type, tmp_path, broker.raw | {"ackPolicy": "all"}) as pubsub:
            stuck = Sink()
            stuck.gate.clear()
            await pubsub.subscribe("t", stuck, {}, "app")
            for number in range(3):
                await pubsub.publish(Message("t", b"%d" % number, id=str(number)))
            await until(lambda: stuck.attempts >= 1)
            await asyncio.sleep(0.5)
            assert stuck.attempts == 1
            stuck.gate.set()
            await until(lambda: stuck.payloads == [b"0", b"1", b"2"])
    finally:
        broker.server.stop(signal.SIGKILL)


@pytest.mark.skipif(NATS is None, reason="nats-server is not installed")
async def test_what_no_stream_takes_is_no_success(tmp_path: Path) -> None:
    from edge.errors import ComponentError
    from edge.model import Message

    broker = NatsBroker(tmp_path / "broker")
    try:
        await broker.start()
        async with opened(broker.type, tmp_path, broker.raw) as pubsub:
            await asyncio.wait_for(pubsub.publish(Message("t", b"1", id="1")), 10)
            with pytest.raises(ComponentError, match="no response from stream"):
                await asyncio.wait_for(pubsub.publish(Message("elsewhere", b"2", id="2")), 10)
    finally:
        broker.server.stop(signal.SIGKILL)


@asynccontextmanager
async def redis_pubsub(folder: Path, **raw: str) -> AsyncIterator[tuple[Any, Any]]:
    """A pubsub.redis and a plain client on one server."""
    import redis.asyncio

    from tests.harness_servers import redis_server

    with redis_server(folder / "redis") as server:
        async with (
            redis.asyncio.Redis(port=server.port) as plain,
            opened("pubsub.redis", folder, {"redisHost": server.host, **raw}) as pubsub,
        ):
            yield pubsub, plain


@pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")
async def test_redis_entries_that_a_killed_sidecar_had_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.model import Message

    monkeypatch.setattr("components.pubsub._streams.ABANDONED", 0.1)
    broker = RedisBroker(tmp_path / "broker")
    await broker.start()
    try:
        async with opened(broker.type, tmp_path, broker.raw) as pubsub:
            stuck = Sink()
            stuck.gate.clear()
            await pubsub.subscribe("t", stuck, {}, "app")
            await pubsub.publish(Message("t", b"1", id="1"))
            await until(lambda: stuck.attempts == 1)
            (reader,) = pubsub._readers
            await reader._window.close(0)  # as if killed
            await reader.close()
            await pubsub.publish(Message("t", b"2", id="2"))

        async with opened(broker.type, tmp_path, broker.raw) as pubsub:
            sink = Sink()
            await pubsub.subscribe("t", sink, {}, "app")
            await until(lambda: sink.payloads == [b"1", b"2"], 15)
    finally:
        broker.server.stop()


@pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")
async def test_redis_entries_are_laid_out_as_daprds(tmp_path: Path) -> None:
    from edge.model import Message

    async with redis_pubsub(tmp_path, maxLenApprox="10") as (pubsub, plain):
        await pubsub.publish(Message("t", b"\x00\xff", {"b": "<2>", "a": "1"}))
        (_, entry), *_ = await plain.xrange("t")
        for _ in range(300):
            await pubsub.publish(Message("t", b"x"))
        length = await plain.xlen("t")
        sink = Sink()
        await pubsub.subscribe("t", sink, {}, "app")
        await plain.xadd("t", {"data": b"from daprd", "metadata": '{"pubsubName":"bus"}'})
        await plain.xadd("t", {"data": b"bare"})
        await until(lambda: sink.payloads[-1:] == [b"bare"])
        while (group := (await plain.xinfo_groups("t"))[0])["pending"]:
            await asyncio.sleep(0.005)

    assert entry == {b"data": b"\x00\xff", b"metadata": b'{"a":"1","b":"\\u003c2\\u003e"}'}
    assert length < 300
    assert sink.got[-2].metadata == {"pubsubName": "bus"}
    assert group["name"] == b"app"


@pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")
async def test_redis_makes_a_lost_group_again_and_says_what_it_refuses(tmp_path: Path) -> None:
    from edge.errors import ComponentError
    from edge.model import Message

    async with redis_pubsub(tmp_path, readTimeout="200ms") as (pubsub, plain):
        sink = Sink()
        await pubsub.subscribe("t", sink, {}, "app")
        await pubsub.publish(Message("t", b"1"))
        await until(lambda: len(sink.got) == 1)
        await plain.flushall()
        await pubsub.publish(Message("t", b"2"))
        await until(lambda: sink.payloads == [b"1", b"2"], 20)
        await plain.set("taken", "x")
        with pytest.raises(ComponentError, match="redis streams: error from publish: WRONGTYPE"):
            await pubsub.publish(Message("taken", b"3"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("broker", BROKERS, indirect=True)
async def test_a_killed_sidecar_and_a_killed_broker_lose_nothing(broker: Any, tmp_path: Path) -> None:
    subscribed = {("GET", "/dapr/subscribe"): Answer.json([{"pubsubname": "bus", "topic": "t", "route": "/t"}])}
    async with ScriptedApp(subscribed, default=Answer(200)) as app:
        one = Sidecar(tmp_path, app_port=app.port, resources={"c.yaml": component("bus", broker.type, broker.raw)})

        async def restart() -> None:
            one.kill()
            await asyncio.to_thread(one.start)

        accepted: list[int] = []
        try:
            for step in (broker.start, restart, broker.kill, restart, broker.start):
                for _ in range(30):
                    answer = await asyncio.to_thread(one.call, "POST", "/v1.0/publish/bus/t", {"n": len(accepted)}) if one.process else None
                    accepted += [len(accepted)] if answer is not None and answer.status == 204 else []
                    if answer is None:
                        await asyncio.to_thread(one.start)
                await step()
            await app.until(lambda: {seen.json()["data"]["n"] for seen in app.on("/t")} >= set(accepted), 60)
        finally:
            one.kill()

    firsts = list(dict.fromkeys(seen.json()["data"]["n"] for seen in app.on("/t")))
    assert len(accepted) >= 140
    assert firsts == sorted(firsts)


@pytest.mark.skipif(RABBIT is None, reason="rabbitmq-server is not installed")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("broker", [RabbitBroker], indirect=True)
async def test_what_waited_goes_out_after_the_subscriptions_of_before_are_made(broker: RabbitBroker, tmp_path: Path) -> None:
    """An exchange drops what no queue is bound for yet."""
    subscribed = {("GET", "/dapr/subscribe"): Answer.json([{"pubsubname": "bus", "topic": "t", "route": "/t"}])}
    async with ScriptedApp(subscribed, default=Answer(200)) as app:
        one = Sidecar(tmp_path, app_port=app.port, resources={"c.yaml": component("bus", broker.type, broker.raw)})
        await asyncio.to_thread(one.start)
        try:
            for number in range(50):
                assert (await asyncio.to_thread(one.call, "POST", "/v1.0/publish/bus/t", {"n": number})).status == 204
            one.kill()
            await broker.start()
            await asyncio.to_thread(one.start)
            await app.until(lambda: len(app.on("/t")) >= 50, 10)
        finally:
            one.kill()

    assert [seen.json()["data"]["n"] for seen in app.on("/t")] == list(range(50))
