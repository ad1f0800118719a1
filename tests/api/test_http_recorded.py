"""Every HTTP exchange that was recorded with daprd, sent to a real sidecar with the same YAML: status, headers, body, what the app got."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from components.catalog import ALIASES, CATALOG
from tests.apps import ScriptedApp
from tests.harness import Sidecar, free_port
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
EXPIRY = 1.1
"""Rows of group state-ttl that look at what a second has taken away."""


async def replay(setup: str, folder: Path) -> list[str]:
    """What differs from the recording, in words."""
    found: list[str] = []
    absent = _absent(setup)
    async with stage(setup, folder) as play:
        for row in rows(setup):
            if not any(name in json.dumps(row["request"]) for name in absent):
                found += await play.play(row)
    return found


def _absent(setup: str) -> list[str]:
    """Parts of paths that name a component whose type edged does not have yet."""
    documents = [d for d in yaml.safe_load_all(SETUPS[setup]["resources"]) if d and d["kind"] == "Component"]
    return [f"/{d['metadata']['name']}{end}" for d in documents if not _known(d["spec"]["type"]) for end in ('"', "/", "?")]


def _known(type_: str) -> bool:
    return f"{ALIASES.get(type_, type_)}/v1" in CATALOG


def _resources(text: str) -> str:
    """Without the components that edged does not have yet."""
    documents = [d for d in yaml.safe_load_all(text) if d]
    return yaml.safe_dump_all([d for d in documents if d["kind"] != "Component" or _known(d["spec"]["type"])])


def prepare(folder: Path) -> dict[str, str]:
    """The files behind components, and where they are."""
    (folder / "safe.json").write_text(json.dumps(SECRETS))
    keys, files = folder / "keys", folder / "files"
    keys.mkdir()
    files.mkdir()
    rsa = generate_private_key(65537, 2048)
    (keys / "orchard.pem").write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (keys / "pub.pem").write_bytes(rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (keys / "sym").write_bytes(bytes(range(32)))
    (keys / "sym16").write_bytes(bytes(range(16)))
    (keys / "short").write_bytes(b"short")
    return {"<dir-of-keys>": str(keys), "<dir-of-files>": str(files)}


@asynccontextmanager
async def stage(setup: str, folder: Path) -> AsyncIterator[Play]:
    """The setup's sidecar and app, ready."""
    recorded = SETUPS[setup]
    async with AsyncExitStack() as up:
        app = None
        if setup in APPS:
            app = await up.enter_async_context(ScriptedApp(default=APPS[setup]))
        known = {"<dir>": str(folder), "<host>": socket.gethostname(), "<public-port>": str(free_port())}
        known["<app-port>"] = str(app.port if app else free_port())
        values = Values(known)
        known |= prepare(folder)
        text = values.filled(_resources(recorded["resources"]))
        edged = Sidecar(
            folder,
            recorded["app_id"],
            int(known["<app-port>"]) if recorded.get("app") else 0,
            {"all.yaml": text},
            values.filled(recorded["config"]),
            [values.filled(flag) for flag in recorded.get("flags", ())],
            recorded.get("env", {}),
            cwd=folder,
        )
        known["<http-port>"] = str(edged.http_port)
        up.callback(edged.kill)
        await asyncio.to_thread(edged.start)
        if setup != "early":
            await asyncio.to_thread(edged.wait)
        first = next(rows(setup))["request"]
        heard = len(app.seen) if app is not None and first is not None else 0
        yield Play(int(known["<public-port>"]) if setup == "public" else edged.http_port, values, app, heard)


@pytest.mark.parametrize("setup", sys_ := ["bare"])
def test_exchanges_are_daprds(setup: str, tmp_path: Path) -> None:
    found = asyncio.run(replay(setup, tmp_path))
    print("\n".join(found))
    assert not found
