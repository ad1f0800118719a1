"""The components that the SDK programs use: one of each kind, all of them embedded."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.harness import component

RESILIENCY = json.dumps(
    {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Resiliency",
        "metadata": {"name": "quick"},
        "spec": {
            "policies": {"retries": {"quick": {"policy": "constant", "duration": "50ms", "maxRetries": 5}}},
            "targets": {"components": {"pubsub": {"inbound": {"retry": "quick"}}}},
        },
    }
)
NAMES = ["echo", "files", "keys", "locks", "pubsub", "secrets", "settings", "statestore", "ticker"]


def resources(folder: Path) -> dict[str, str]:
    """YAML files by name; the files that the components read are made in `folder`."""
    _keys(folder / "keys")
    _settings(folder / "settings.db")
    (folder / "secrets.json").write_text(json.dumps({"mqtt": "geheim", "db": {"user": "u"}}))
    made = [
        component("statestore", "state.sqlite", {"connectionString": str(folder / "state.db")}),
        component("secrets", "secretstores.local.file", {"secretsFile": str(folder / "secrets.json")}),
        component("files", "bindings.localstorage", {"rootPath": str(folder / "files")}),
        component("pubsub", "pubsub.in-memory"),
        component("ticker", "bindings.cron", {"schedule": "@every 1s"}),
        component("keys", "crypto.dapr.localstorage", {"path": str(folder / "keys")}),
        component("locks", "lock.sqlite"),
        component("echo", "conversation.echo"),
        component("settings", "configuration.sqlite", {"connectionString": str(folder / "settings.db")}),
    ]
    return {"components.yaml": "\n---\n".join(made), "resiliency.yaml": RESILIENCY}


def _keys(folder: Path) -> None:
    folder.mkdir(parents=True)
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "rsa").write_bytes(pem)
    (folder / "aes").write_bytes(bytes(range(200, 232)))


def _settings(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE configuration (key TEXT PRIMARY KEY, value TEXT NOT NULL, version TEXT NOT NULL, metadata TEXT)")
        connection.executemany("INSERT INTO configuration VALUES (?, ?, ?, NULL)", [("colour", "green", "1"), ("size", "9", "2")])
    connection.close()
