"""State transactions with an outbox over kill -9: every committed key is told, no other one."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import random
import threading
import time
from pathlib import Path

import pytest

from tests.apps import Answer, ScriptedApp
from tests.harness import Sidecar, component
from tests.harness_mqtt import mosquitto, needs_mosquitto

pytestmark = [needs_mosquitto, pytest.mark.mosquitto]


def resources(folder: Path, url: str, own: bool) -> dict[str, str]:
    file = folder / "side/data/shop/edged.db" if own else folder / "s.db"
    fields = {"connectionString": str(file), "outboxPublishPubsub": "bus", "outboxPublishTopic": "told"}
    subscription = {"pubsubname": "bus", "topic": "told", "routes": {"default": "/told"}}
    return {
        "state.yaml": component("stall", "state.sqlite", fields),
        "bus.yaml": component("bus", "pubsub.mqtt3", {"url": url, "consumerID": "shop", "qos": "1"}),
        "sub.yaml": json.dumps({"apiVersion": "dapr.io/v2alpha1", "kind": "Subscription", "metadata": {"name": "s"}, "spec": subscription}),
    }


def told(app: ScriptedApp) -> list[str]:
    return [seen.json()["data"] for seen in app.seen if seen.target == "/told"]


def work(one: Sidecar, numbers: range) -> None:
    """Transactions one after the other until the process is gone."""
    for number in numbers:
        operations = [{"operation": "upsert", "request": {"key": f"k{number}", "value": f"k{number}"}}]
        with contextlib.suppress(OSError, http.client.HTTPException):
            one.call("POST", "/v1.0/state/stall/transaction", {"operations": operations})


def committed(one: Sidecar, numbers: range) -> set[str]:
    keys = [f"k{number}" for number in numbers]
    return {row["key"] for row in one.call("POST", "/v1.0/state/stall/bulk", {"keys": keys}).json() if "data" in row}


def run(folder: Path, app: ScriptedApp, own: bool, kills: int) -> None:
    with mosquitto(folder / "mqtt") as broker:
        (folder / "side").mkdir()
        one = Sidecar(folder / "side", app_id="shop", app_port=app.port, resources=resources(folder, broker.url, own))
        try:
            for turn in range(kills):
                one.start()
                worker = threading.Thread(target=work, args=(one, range(turn * 200, turn * 200 + 200)))
                worker.start()
                time.sleep(random.uniform(0.1, 0.6))
                one.kill()
                worker.join()
            one.start()
            wanted = set[str]()
            for turn in range(kills):
                wanted |= committed(one, range(turn * 200, turn * 200 + 200))
            deadline = time.monotonic() + 40
            while set(told(app)) != wanted and time.monotonic() < deadline:
                time.sleep(0.05)
            assert len(wanted) > kills
            assert (wanted - set(told(app)), set(told(app)) - wanted) == (set(), set())
        finally:
            if one.process is not None and one.process.poll() is None:
                one.kill()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("own", [True, False], ids=["own-file", "intents"])
async def test_what_is_committed_is_told_and_nothing_else(own: bool, tmp_path: Path) -> None:
    async with ScriptedApp(default=Answer(200)) as app:
        await asyncio.to_thread(run, tmp_path, app, own, 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("own", [True, False], ids=["own-file", "intents"])
async def test_the_same_over_many_kills(own: bool, tmp_path: Path) -> None:
    async with ScriptedApp(default=Answer(200)) as app:
        await asyncio.to_thread(run, tmp_path, app, own, 20)
