"""Dapr's outbox: told if and only if committed, by one commit in edged's own file, by intents elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.blocks.state import StateService, Store
from edge.blocks.transactional_outbox import TransactionalOutbox
from edge.errors import EdgeError
from edge.model import DeleteItem, Message, SetItem
from tests.harness_mqtt import Broker, mosquitto, needs_mosquitto, plain, until
from tests.recorded import normal
from tests.rig import Rig, rig

OUTBOX = {"outboxPublishPubsub": "bus", "outboxPublishTopic": "apples"}
TOLD = [{"pubsubname": "bus", "topic": "apples", "route": "/in/apples"}]


@asynccontextmanager
async def outbox(
    folder: Path, state: tuple[str, Mapping[str, str]], bus: tuple[str, Mapping[str, str]]
) -> AsyncIterator[tuple[Rig, Store]]:
    """A store `stall` whose transactions are told on `apples`, an app that listens."""
    async with rig(folder, {"stall": state, "bus": bus}, TOLD, app_id="market") as made:
        intents = TransactionalOutbox(made.parts, made.pubsub, made.journal, made.database, made.tasks)
        await made.start()
        await intents.start(made.app)
        try:
            yield made, StateService(made.parts, outbox=intents).store(made.app, "stall")
        finally:
            await intents.stop(made.app)


def events(made: Rig) -> list[dict[str, Any]]:
    return [json.loads(seen.body) for seen in made.server.seen if seen.target == "/in/apples"]


def key(name: str, value: object, **metadata: str) -> SetItem:
    return SetItem(name, json.dumps(value).encode(), True, metadata=metadata)


IN_MEMORY = ("state.in-memory", OUTBOX)
BUS = ("pubsub.in-memory", {})


@pytest.mark.parametrize(
    ("operations", "event"),
    [
        ([key("ob1", {"fig": 1}), DeleteItem("ob0")], {"data": "map[fig:1]"}),
        ([key("ob2", "stored"), key("ob2", "told", **{"outbox.projection": "true"})], {"data": "told"}),
        (
            [key("ob3", 1, **{"cloudevent.type": "ob.t", "datacontenttype": "text/q"})],
            {"cloudevent.type": "ob.t", "data": "1", "datacontenttype": "text/q"},
        ),
        ([key("ob4", {"b": [1000000]}, contentType="application/json")], {"contentType": "application/json", "data": {"b": [1000000]}}),
        ([SetItem("ob5", b"as it is", metadata={"id": "mine", "data": "x", "source": "me"})], {"data": "as it is", "source": "me"}),
    ],
)
def test_events_are_daprds(operations: list[SetItem | DeleteItem], event: dict[str, Any], tmp_path: Path) -> None:
    recorded = {
        "datacontenttype": "application/json" if "contentType" in event else "text/plain",
        "id": "outbox-<uuid>",
        "pubsubname": "bus",
        "source": "market",
        "specversion": "1.0",
        "time": "<time>",
        "topic": "apples",
        "traceid": "",
        "traceparent": "",
        "tracestate": "",
        "type": "com.dapr.event.sent",
    }

    async def main() -> None:
        async with outbox(tmp_path, IN_MEMORY, BUS) as (made, store):
            await store.transact(operations)
            await until(lambda: bool(events(made)))

            [body] = [seen.body.decode() for seen in made.server.seen if seen.target == "/in/apples"]
            assert normal(body) == json.dumps(recorded | event, separators=(",", ":"), sort_keys=True)
            stored = next(op.key for op in operations if isinstance(op, SetItem))
            found = await store.get(stored)
            assert found is not None and found.data == operations[0].value  # type: ignore[union-attr]
            component = made.parts.find("state", "stall", made.app).component  # type: ignore[union-attr]
            assert (await component.keys_like("outbox-%", 10, ""))[0] == []

    asyncio.run(main())


def test_a_transaction_that_fails_is_not_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with outbox(tmp_path, IN_MEMORY, BUS) as (made, store):
            with pytest.raises(EdgeError, match="etag"):
                await store.transact([SetItem("a", b"1", etag="wrong")])
            await store.transact([key("b", "good")])
            await until(lambda: bool(events(made)))
            await asyncio.sleep(0.05)

            assert [event["data"] for event in events(made)] == ["good"]

    asyncio.run(main())


def test_a_missing_pubsub_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        fields = OUTBOX | {"outboxPubsub": "none"}
        async with outbox(tmp_path, ("state.in-memory", fields), BUS) as (_, store):
            with pytest.raises(EdgeError, match="error while publishing outbox message: pubsub 'none' not found"):
                await store.transact([key("a", 1)])
            assert await store.get("a") is None
            await store.transact([SetItem("b", b"1", metadata={"outbox.projection": "true"}), DeleteItem("c")])  # tells nobody

    asyncio.run(main())


@pytest.mark.parametrize("bus", ["pubsub.in-memory", "pubsub.sqlite"])
def test_plain_saves_are_not_told(bus: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with outbox(tmp_path, IN_MEMORY, (bus, {})) as (made, store):
            await store.save([key("a", "plain")])
            await store.transact([key("b", "told")])
            await until(lambda: bool(events(made)))

            assert [event["data"] for event in events(made)] == ["told"]

    asyncio.run(main())


def test_an_intent_of_before_a_restart_is_told_and_one_without_commit_is_not(tmp_path: Path) -> None:
    """What a kill leaves: intents in the journal, of which one transaction was committed."""
    fields = {"connectionString": str(tmp_path / "s.db"), "outboxDiscardWhenMissingState": "true", **OUTBOX}
    lane = "in/market/bus/defaultmarketapplesoutbox/stall"

    async def main() -> None:
        async with rig(tmp_path, {"stall": ("state.sqlite", fields), "bus": BUS}, TOLD, app_id="market") as made:
            for name in ("outbox-yes", "outbox-no"):
                await made.journal.put(lane, Message("defaultmarketapplesoutbox", json.dumps({"id": name, "data": name}).encode(), id=name))
            part = made.parts.find("state", "stall", made.app)
            assert part is not None
            await part.component.set(SetItem("outbox-yes", b'"0"', True))
        async with outbox(tmp_path, ("state.sqlite", fields), BUS) as (made, _):
            await until(lambda: bool(events(made)))
            assert [event["data"] for event in events(made)] == ["outbox-yes"]
            store = made.parts.find("state", "stall", made.app)
            assert store is not None
            async with asyncio.timeout(10):
                while await store.component.get("outbox-yes") is not None:
                    await asyncio.sleep(0.01)

    asyncio.run(main())


@pytest.mark.parametrize("bus", ["pubsub.in-memory", "pubsub.sqlite"])
def test_own_file_without_a_broker_is_one_commit_too(bus: str, tmp_path: Path) -> None:
    fields = {"connectionString": str(tmp_path / "edged.db"), **OUTBOX}

    async def main() -> None:
        async with outbox(tmp_path, ("state.sqlite", fields), (bus, {})) as (made, store):
            await store.transact([key("a", "one"), key("b", "two")])
            with pytest.raises(EdgeError):
                await store.transact([key("c", "three"), SetItem("a", b"1", etag="wrong")])

            await until(lambda: len(events(made)) == 2)
            assert [event["data"] for event in events(made)] == ["one", "two"]
            component = made.parts.find("state", "stall", made.app).component  # type: ignore[union-attr]
            assert (await component.keys_like("%", 10, ""))[0] == ["market||a", "market||b"]
            await made.journal.put("outbox/market/stall", Message("apples", b'{"id":"x","data":"left"}', id="x"))
            await until(lambda: len(events(made)) == 3)

    asyncio.run(main())


@pytest.fixture
def broker(tmp_path: Path) -> Any:
    with mosquitto(tmp_path / "mqtt") as one:
        yield one


@needs_mosquitto
@pytest.mark.mosquitto
def test_own_file_and_journal_are_one_commit(tmp_path: Path, broker: Broker) -> None:
    fields = {"connectionString": str(tmp_path / "edged.db"), **OUTBOX}

    async def main() -> None:
        with plain(broker.port) as client:
            client.subscribe("#")
            async with outbox(tmp_path, ("state.sqlite", fields), ("pubsub.mqtt3", {"url": broker.url, "consumerID": "m"})) as (
                made,
                store,
            ):
                broker.stop()
                await store.transact([key("a", "one"), key("b", "two"), key("b", "too", **{"outbox.projection": "true"})])
                with pytest.raises(EdgeError):
                    await store.transact([key("c", "three"), SetItem("a", b"1", etag="wrong")])

                assert [lane.lane for lane in made.journal.stats("out/") if lane.pending == 2] == ["out/bus/apples"]
                assert (await store.get("c")) is None
                component = made.parts.find("state", "stall", made.app).component  # type: ignore[union-attr]
                assert (await component.keys_like("%", 10, ""))[0] == ["market||a", "market||b"]
                broker.start()
                await until(lambda: len(events(made)) == 2, 30)
                assert [event["data"] for event in events(made)] == ["one", "too"]

    asyncio.run(main())


@needs_mosquitto
@pytest.mark.mosquitto
def test_intents_go_by_the_internal_topic(tmp_path: Path, broker: Broker) -> None:
    async def main() -> None:
        with plain(broker.port) as client:
            client.subscribe("#")
            async with outbox(tmp_path, IN_MEMORY, ("pubsub.mqtt3", {"url": broker.url, "consumerID": "m"})) as (made, store):
                await until(lambda: made.parts.find("pubsub", "bus", made.app).component.unhealthy() is None)  # type: ignore[union-attr]
                await store.transact([key("a", "one")])
                await until(lambda: len(events(made)) == 1 and len(client.got) == 2)

            intent, event = (json.loads(data) for data in client.payloads())
            assert (intent["topic"], event["topic"]) == ("", "apples") and intent["id"] == event["id"]
            assert [message.topic for message in client.got] == ["defaultmarketapplesoutbox", "apples"]

    asyncio.run(main())
