"""A store that daprd wrote opens in edged and the other way round. Runs where `daprd` is on the PATH or named by $DAPRD."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.harness import Sidecar, component, sidecar
from tests.harness_servers import Postgres, Redis

DAPRD = os.environ.get("DAPRD") or shutil.which("daprd")
pytestmark = [pytest.mark.skipif(DAPRD is None, reason="daprd is not installed (name it in $DAPRD)"), pytest.mark.slow]
STORES = ("lite", "rds", "pg1", "pg2", "sealed")
KEYS = {"old": "0" * 64, "new": "1" * 64}


def resources(folder: Path, redis: Redis, postgres: Postgres, schema: str, keys: tuple[str, ...]) -> dict[str, str]:
    (folder / "keys.json").write_text(json.dumps(KEYS))
    named = zip(("primaryEncryptionKey", "secondaryEncryptionKey"), keys, strict=False)
    sealed = json.loads(component("sealed", "state.sqlite", {"connectionString": str(folder / "sealed.db")}))
    sealed["spec"]["metadata"] += [{"name": name, "secretKeyRef": {"name": key, "key": key}} for name, key in named]
    sealed["auth"] = {"secretStore": "safe"}
    pg2 = json.loads(component("pg2", "state.postgresql", {"connectionString": postgres.url, "tablePrefix": f"{schema}_"}))
    pg2["spec"]["version"] = "v2"
    return {
        "safe.yaml": component("safe", "secretstores.local.file", {"secretsFile": str(folder / "keys.json")}),
        "lite.yaml": component("lite", "state.sqlite", {"connectionString": str(folder / "lite.db")}),
        "rds.yaml": component("rds", "state.redis", {"redisHost": redis.host, "redisPassword": ""}),
        "pg1.yaml": component("pg1", "state.postgresql", {"connectionString": postgres.words, "tableName": f"{schema}_one"}),
        "pg2.yaml": json.dumps(pg2),
        "sealed.yaml": json.dumps(sealed),
    }


@contextmanager
def running(kind: str, folder: Path, documents: dict[str, str]) -> Iterator[Sidecar]:
    """One of the two on the same components as the same app."""
    own = folder / kind
    own.mkdir(exist_ok=True)
    if kind == "edged":
        with sidecar(own, app_id="shop", resources=documents) as one:
            yield one
        return
    one = Sidecar(own, app_id="shop", resources=documents)
    arguments = one.arguments()
    at = arguments.index("--data-dir")
    del arguments[at : at + 2]
    one.program = (str(DAPRD),)
    one.arguments = lambda: [*arguments, "--placement-host-address", "", "--scheduler-host-address", ""]  # type: ignore[method-assign]
    try:
        yield one.start(timeout=60)
    finally:
        one.kill(15)


def fill(one: Sidecar, who: str) -> None:
    for store in STORES:
        items: list[dict[str, Any]] = [
            {"key": f"{who}-text", "value": f"{store} says ü < & >"},
            {"key": f"{who}-ttl", "value": "short", "metadata": {"ttlInSeconds": "3000"}},
        ]
        if store != "sealed":  # daprd makes Go's text of other values before it encrypts
            items += [{"key": f"{who}-tree", "value": {"b": [1, None, True], "a": "x"}}, {"key": f"{who}-number", "value": 12.5}]
        answer = one.call("POST", f"/v1.0/state/{store}", items)
        assert answer.status == 204, (store, answer.body)
        operations = [{"operation": "upsert", "request": {"key": f"{who}-tx", "value": "in"}}]
        operations += [{"operation": "delete", "request": {"key": f"{who}-none"}}]
        assert one.call("POST", f"/v1.0/state/{store}/transaction", {"operations": operations}).status == 204


def look(one: Sidecar, who: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for store in STORES:
        for key in ("text", "ttl", "tree", "number", "tx"):
            answer = one.call("GET", f"/v1.0/state/{store}/{who}-{key}")
            shown = {name: text for name, text in answer.headers.items() if name in ("etag", "metadata.ttlexpiretime")}
            found[f"{store}/{key}"] = (answer.status, answer.body, shown)
    return found


def rewrite(one: Sidecar, who: str, seen: dict[str, Any]) -> None:
    """Write with the etags that the other one showed, and with wrong ones."""
    for store in STORES:
        etag = seen[f"{store}/text"][2]["etag"]
        wrong = [{"key": f"{who}-text", "value": "no", "etag": {"pg2": "5f0c9a3e-3c1b-4a5e-9d8f-000000000000"}.get(store, "4242")}]
        assert one.call("POST", f"/v1.0/state/{store}", wrong).status == 409, store
        right = [{"key": f"{who}-text", "value": "again", "etag": etag}]
        assert one.call("POST", f"/v1.0/state/{store}", right).status == 204, store


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("first", "second"), [("daprd", "edged"), ("edged", "daprd")])
def test_stores_are_common(first: str, second: str, tmp_path: Path, redis: Redis, postgres: Postgres) -> None:
    documents = resources(tmp_path, redis, postgres, f"from_{first}", ("old",))
    with running(first, tmp_path, documents) as one:
        fill(one, first)
        before = look(one, first)
    documents = resources(tmp_path, redis, postgres, f"from_{first}", ("new", "old"))

    with running(second, tmp_path, documents) as other:
        after = look(other, first)
        assert after == before
        rewrite(other, first, after)
        fill(other, second)
        theirs = look(other, second)

    with running(first, tmp_path, documents) as one:
        assert look(one, second) == theirs
        assert one.call("GET", f"/v1.0/state/pg2/{first}-text").json() == "again"


@pytest.mark.timeout(120)
def test_what_one_encrypts_the_other_decrypts(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "large").write_bytes(bytes(range(32)))
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (keys / "rsa.pem").write_bytes(pem)
    documents = {"cask.yaml": component("cask", "crypto.dapr.localstorage", {"path": str(keys)})}
    texts = [b"", b"x", b"y" * 64 * 1024, b"z" * (64 * 1024 + 1), os.urandom(300_000)]
    path = "/v1.0-alpha1/crypto/cask"
    with running("daprd", tmp_path, documents) as one, running("edged", tmp_path, documents) as other:
        for key, algorithm in (
            ("large", "A256KW"),
            ("large", "AES"),
            ("rsa.pem", "RSA-OAEP-256"),
            ("rsa.pem", "RSA"),
            ("large", "A256CBC-NOPAD"),
        ):
            for cipher in ("", "aes-gcm", "chacha20-poly1305"):
                headers = {"dapr-key-name": key, "dapr-key-wrap-algorithm": algorithm} | (
                    {"dapr-data-encryption-cipher": cipher} if cipher else {}
                )
                for text in texts:
                    sealed = [each.call("PUT", f"{path}/encrypt", text, headers) for each in (one, other)]
                    assert sealed[0].status == sealed[1].status, (algorithm, sealed[0].body[:300], sealed[1].body[:300])
                    if sealed[0].status != 200:
                        assert sealed[0].body == sealed[1].body
                        continue
                    opened = [each.call("PUT", f"{path}/decrypt", answer.body) for each, answer in zip((other, one), sealed, strict=True)]
                    assert [answer.body for answer in opened] == [text, text], (algorithm, cipher, len(text))
