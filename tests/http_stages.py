"""What stands around the sidecar in the recordings of tests/data/http.jsonl: files, servers, apps, and what happened between requests."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from components.catalog import ALIASES, CATALOG
from tests.apps import Answer, ScriptedApp
from tests.harness import Sidecar, component, free_port
from tests.harness_mqtt import MOSQUITTO, mosquitto, plain
from tests.harness_servers import REDIS, redis_server
from tests.http_apps import APPS
from tests.http_replay import Play, Row, Values, rows
from tests.recorded import DATA

SETUPS: dict[str, Any] = json.loads((DATA / "setups.json").read_text())
SECRETS = {
    "pin": "4711",
    "router": {"ssid": "attic", "wpa": {"psk": "hush"}},
    "ports": [80, 8080],
    "yes": True,
    "nil": None,
    "neg": -3.5,
    "veiled": "never",
    "cipherkey": "0f" * 32,
    "shortkey": "0f" * 8,
}
EDGES = {
    "sq": ("state.sqlite", {"connectionString": "<dir>/s.db"}),
    "mem": ("state.in-memory", {}),
    "bus": ("pubsub.in-memory", {}),
    "fenced": (
        "pubsub.in-memory",
        {"allowedTopics": "plain,secret", "protectedTopics": "secret", "publishingScopes": "shop=plain;other=secret"},
    ),
    "sec": ("secretstores.local.file", {"secretsFile": "<dir>/edges.json"}),
    "mv": ("secretstores.local.file", {"secretsFile": "<dir>/edges.json", "multiValued": "true"}),
    "env": ("secretstores.local.env", {}),
    "cr": ("crypto.dapr.localstorage", {"path": "<dir-of-keys>"}),
    "files": ("bindings.localstorage", {"rootPath": "<dir-of-files>"}),
    "web": ("bindings.http", {"url": "http://127.0.0.1:<app-port>"}),
}
"""The components behind tests/data/http-edges.jsonl."""
EDGE_SECRETS = {key: SECRETS[key] for key in ("pin", "router", "ports", "yes", "nil", "neg", "cipherkey")} | {"uni": "é<&>"}
SERVERS = {"redis": Path(REDIS or "/none").exists(), "mqtt3": Path(MOSQUITTO).exists()}


@dataclass
class Stage:
    """A setup that is up."""

    setup: str
    play: Play
    edged: Sidecar
    app: ScriptedApp | None
    redis_port: int = 0
    mqtt_port: int = 0
    healthy: bool = True
    far: Sidecar | None = None
    far_app: ScriptedApp | None = None

    async def before(self, row: Row) -> None:
        """What the recording did before this row."""
        action = BEFORE.get(f"{self.setup}/{row['group']}/{row['name']}")
        if action is not None:
            await action(self, row)
        elif row["group"] == "mqtt-inbound":
            await self.publish(row)

    async def publish(self, row: Row) -> None:
        match = re.fullmatch(r"a plain MQTT client published (b'.*') to (.*)", row["note"], re.DOTALL)
        assert match is not None
        with plain(self.mqtt_port) as client:
            await asyncio.to_thread(client.publish, match[2], ast.literal_eval(match[1]))

    async def redis(self, *words: str) -> None:
        """One command, in Redis's own form."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.redis_port)
        writer.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words))
        assert (await reader.readline()).startswith((b"+", b":"))
        writer.close()


async def _wait(stage: Stage, row: Row) -> None:
    await asyncio.sleep(1.15)  # for a TTL of one second


async def _lamp(stage: Stage, row: Row) -> None:
    await stage.redis(*(("SET", "lamp", "red||4") if row["name"] == "update-pushed" else ("DEL", "lamp")))


async def _down(stage: Stage, row: Row) -> None:
    assert stage.app is not None and stage.far_app is not None
    await stage.app.down()
    await stage.far_app.down()


async def _kill_far(stage: Stage, row: Row) -> None:
    assert stage.far is not None
    await asyncio.to_thread(stage.far.kill)


async def _turn(stage: Stage, row: Row) -> None:
    """The app's /well says 200 or 503 from now on; until the sidecar has seen it."""
    stage.healthy = row["name"] == "healthy-again"
    wanted = 200 if stage.healthy else 500
    for _ in range(200):
        answer = await asyncio.to_thread(stage.edged.call, "GET", "/v1.0/invoke/ailing/method/x")
        if answer.status == wanted:
            break
        await asyncio.sleep(0.05)
    if stage.app is not None:
        stage.play.heard = len(stage.app.seen)


async def _probe(stage: Stage, row: Row) -> None:
    """The next probe is looked at."""
    assert stage.app is not None
    stage.play.heard = len(stage.app.seen)


async def _ended(stage: Stage, row: Row) -> None:
    """The process ends by itself with the exit code that daprd's had."""
    wanted = re.search(r"exit code (\d)", row["note"])
    assert wanted is not None and stage.edged.process is not None
    assert await asyncio.to_thread(stage.edged.process.wait, 20) == int(wanted[1])


BEFORE: dict[str, Callable[[Stage, Row], Awaitable[None]]] = {
    "larder/state-ttl/after-expiry": _wait,
    "larder/configuration/update-pushed": _lamp,
    "larder/configuration/delete-pushed": _lamp,
    "hall/invoke-app-down/own": _down,
    "hall/invoke-runtime-down/far-killed-still-registered": _kill_far,
    "leaving/shutdown/exit": _ended,
    "leaving-hard/shutdown/forced-exit": _ended,
    "ailing/app-health/unhealthy-invoke": _turn,
    "ailing/app-health/healthy-again": _turn,
    "ailing/app-health/probe-request": _probe,
}


def absent(setup: str) -> list[str]:
    """Parts of paths that name a component whose type edged does not have, or whose server this machine lacks."""
    documents = [d for d in yaml.safe_load_all(SETUPS[setup]["resources"]) if d and d["kind"] == "Component"]
    return [f"/{d['metadata']['name']}{end}" for d in documents if not _usable(d["spec"]["type"]) for end in ('"', "/", "?")]


def _usable(type_: str) -> bool:
    return f"{ALIASES.get(type_, type_)}/v1" in CATALOG and SERVERS.get(type_.partition(".")[2], True)


def _resources(text: str) -> str:
    """Without the components that cannot be had."""
    documents = [d for d in yaml.safe_load_all(text) if d]
    return str(yaml.safe_dump_all([d for d in documents if d["kind"] != "Component" or _usable(d["spec"]["type"])], sort_keys=False))


def files(folder: Path) -> dict[str, str]:
    """The files behind components, and where they are."""
    (folder / "safe.json").write_text(json.dumps(SECRETS))
    (folder / "edges.json").write_text(json.dumps(EDGE_SECRETS))
    keys, plain_files = folder / "keys", folder / "files"
    keys.mkdir()
    plain_files.mkdir()
    rsa = generate_private_key(65537, 2048)
    (keys / "orchard.pem").write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (keys / "pub.pem").write_bytes(rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (keys / "sym").write_bytes(bytes(range(32)))
    (keys / "sym16").write_bytes(bytes(range(16)))
    (keys / "short").write_bytes(b"short")
    return {"<dir>": str(folder), "<dir-of-keys>": str(keys), "<dir-of-files>": str(plain_files)}


@asynccontextmanager
async def stage(setup: str, folder: Path) -> AsyncIterator[Stage]:
    """The setup's servers, app and sidecar, ready."""
    recorded = SETUPS[setup] if setup != "edges" else _edges()
    async with AsyncExitStack() as up:
        values = Values({**files(folder), "<host>": socket.gethostname(), "<public-port>": str(free_port())})
        redis_port = mqtt_port = 0
        if "<redis-port>" in recorded["resources"] and SERVERS["redis"]:
            redis_port = up.enter_context(redis_server(folder / "redis")).port
        if "<mqtt-port>" in recorded["resources"] and SERVERS["mqtt3"]:
            mqtt_port = up.enter_context(mosquitto(folder / "mosquitto")).port
        values.known |= {"<redis-port>": str(redis_port), "<mqtt-port>": str(mqtt_port)}
        app = await up.enter_async_context(ScriptedApp(default=APPS[setup])) if setup in APPS else None
        values.known["<app-port>"] = str(app.port if app is not None else free_port())
        far = await _far(up, values, folder, app) if setup == "hall" and app is not None else (None, None)
        edged = _sidecar(recorded, values, folder)
        values.known["<http-port>"] = str(edged.http_port)
        made = Stage(setup, Play(edged.http_port, values, app), edged, app, redis_port, mqtt_port, True, *far)
        if redis_port:
            await _fill(made)
        if app is not None and setup == "ailing":
            app.answers["/well"] = lambda seen: Answer(200 if made.healthy else 503)
        up.callback(edged.kill)
        await asyncio.to_thread(edged.start)
        if setup != "early":
            await asyncio.to_thread(edged.wait)
        if setup == "public":
            made.play.port = int(values.known["<public-port>"])
        if app is not None and (setup == "edges" or next(rows(setup))["request"] is not None):
            made.play.heard = len(app.seen)
        yield made


def _edges() -> dict[str, Any]:
    """The setup of http-edges.jsonl, in the form of setups.json."""
    resources = "\n---\n".join(component(name, type_, fields) for name, (type_, fields) in EDGES.items())
    names = {"component": "sqlite", "version": "v1", "configuration": {"connectionString": "<dir>/names.db"}}
    config = {"kind": "Configuration", "metadata": {"name": "c"}, "spec": {"nameResolution": names}}
    return {"app_id": "shop", "config": json.dumps(config), "resources": resources, "app": True}


async def _far(up: AsyncExitStack, values: Values, folder: Path, near: ScriptedApp) -> tuple[Sidecar, ScriptedApp]:
    """The other sidecar of the setup `hall`, `parlour`, with an app of its own; both know each other by a table of names.

    What the two apps get is looked at as one list.
    """
    app = await up.enter_async_context(ScriptedApp(default=APPS["parlour"], seen=near.seen))
    inner = folder / "parlour"
    inner.mkdir()
    edged = _sidecar(SETUPS["parlour"], Values(values.known | {"<app-port>": str(app.port)}), inner)
    values.known |= {"<far-app-port>": str(app.port), "<far-internal-port>": str(edged.internal_port)}
    up.callback(edged.kill)
    await asyncio.to_thread(edged.start)
    await asyncio.to_thread(edged.wait)
    return edged, app


def _sidecar(recorded: dict[str, Any], values: Values, folder: Path) -> Sidecar:
    return Sidecar(
        folder,
        recorded["app_id"],
        int(values.known["<app-port>"]) if recorded.get("app") else 0,
        {"all.yaml": values.filled(_resources(recorded["resources"]))},
        values.filled(recorded["config"]),
        [values.filled(flag) for flag in recorded.get("flags", ())],
        recorded.get("env", {}),
        cwd=folder,
    )


async def _fill(made: Stage) -> None:
    """What was in Redis before the start."""
    for key, value in {"lamp": "amber||3", "fan": "off", "odd||bars": "x||y||z"}.items():
        await made.redis("SET", key, value)
    await made.redis("RPUSH", "alist", "a")
