"""Components in another process, over Dapr's protocol: found at the start, and every kind used through the API."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.apps import Answer, ScriptedApp
from tests.harness import ROOT, Sidecar, component

pytest.importorskip("grpc_reflection")
STATE = ("StateStore", "TransactionalStateStore", "TransactionalStoreMultiMaxSize")
KINDS = {"tin": STATE, "tube": ("PubSub",), "both": ("InputBinding", "OutputBinding"), "safe": ("SecretStore",)}


@contextmanager
def plugs() -> Iterator[Path]:
    """A folder with a socket for each component. It is short: a socket's path has 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="plug-") as name:
        folder = Path(name)
        wanted = [f"{folder / name}.sock={','.join(services)}" for name, services in KINDS.items()]
        process = subprocess.Popen([sys.executable, "-m", "tests.pluggable", *wanted], cwd=ROOT)
        try:
            yield folder
        finally:
            process.kill()
            process.wait()


async def _there(folder: Path) -> None:
    async with asyncio.timeout(30):
        while len(list(folder.glob("*.sock"))) < len(KINDS):
            await asyncio.sleep(0.02)


async def test_every_kind(tmp_path: Path) -> None:
    resources = {
        "a.yaml": component("state", "state.tin", {"colour": "red"}),
        "b.yaml": component("bus", "pubsub.tube"),
        "c.yaml": component("both", "bindings.both", {"colour": "blue", "direction": "input,output"}),
        "d.yaml": component("safe", "secretstores.safe"),
    }
    with plugs() as folder:
        await _there(folder)
        (folder / "left-over.txt").touch()
        subscribed = [{"pubsubname": "bus", "topic": "t", "route": "/t"}]
        async with ScriptedApp({("GET", "/dapr/subscribe"): Answer.json(subscribed), "/both": [Answer(500), Answer(200)]}) as app:
            app.default = Answer(200)
            one = Sidecar(tmp_path, app_port=app.port, resources=resources, env={"DAPR_COMPONENTS_SOCKETS_FOLDER": str(folder)})
            try:
                await asyncio.to_thread(one.start)
                await asyncio.to_thread(_state, one)
                await asyncio.to_thread(_bindings_and_secrets, one)
                sent = await asyncio.to_thread(one.call, "POST", "/v1.0/publish/bus/t", {"n": 1})
                await app.until(lambda: app.on("/t") and len(app.on("/both", "POST")) >= 3, 20)
                acks = await asyncio.to_thread(one.call, "POST", "/v1.0/bindings/both", {"operation": "acks"})
            finally:
                one.kill()

    assert sent.status == 204
    assert app.on("/t")[0].json()["data"] == {"n": 1}
    assert [seen.body for seen in app.on("/both", "POST")][:3] == [b"0", b"1", b"2"]
    assert b"status code: 500 body: " in acks.body
    assert b"('1', '')" in acks.body


def _state(one: Sidecar) -> None:
    assert one.call("POST", "/v1.0/state/state", [{"key": "k", "value": {"a": 1}}]).status == 204
    got = one.call("GET", "/v1.0/state/state/k")
    assert (got.json(), got.headers["etag"]) == ({"a": 1}, "1")
    stale = one.call("POST", "/v1.0/state/state", [{"key": "k", "value": 2, "etag": "7"}])
    assert stale.status == 409
    assert stale.json()["message"].endswith("possible etag mismatch. error from state store: another etag")
    operations = [{"operation": "upsert", "request": {"key": "x", "value": "y"}}, {"operation": "delete", "request": {"key": "k"}}]
    assert one.call("POST", "/v1.0/state/state/transaction", {"operations": operations}).status == 204
    bulk = one.call("POST", "/v1.0/state/state/bulk", {"keys": ["x", "k"]}).json()
    assert [(item["key"], item.get("data")) for item in bulk] == [("x", "y"), ("", None)]  # as daprd: as many as were asked for
    too_many = one.call("POST", "/v1.0/state/state/transaction", {"operations": operations[:1] * 11})
    assert too_many.json()["errorCode"] == "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS"
    shown = {item["name"]: item for item in one.call("GET", "/v1.0/metadata").json()["components"]}
    assert set(shown["state"]["capabilities"]) == {"ETAG", "TRANSACTIONAL", "ACTOR"}
    assert shown["both"]["type"] == "bindings.both"


def _bindings_and_secrets(one: Sidecar) -> None:
    turned = one.call("POST", "/v1.0/bindings/both", {"operation": "turn", "data": "abc", "metadata": {"say": "hi"}})
    assert (turned.body, turned.headers["metadata.echo"], turned.headers["metadata.colour"]) == (b'"cba"', "hi", "blue")
    failed = one.call("POST", "/v1.0/bindings/both", {"operation": "fail"})
    assert failed.json()["message"] == "error invoking output binding both: rpc error: code = Internal desc = as you wish"
    unknown = one.call("POST", "/v1.0/bindings/both", {"operation": "sing"})
    assert "supported operations:turn fail acks" in unknown.json()["message"]
    assert one.call("GET", "/v1.0/secrets/safe/door").json() == {"door": "hush"}
    assert one.call("GET", "/v1.0/secrets/safe/bulk").json() == {"a": {"a": "1"}}
    assert one.call("GET", "/v1.0/secrets/safe/none").status == 500
