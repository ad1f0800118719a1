"""The secret store suite over the components of the catalogue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from edge.errors import ComponentError, Invalid, Unavailable
from edge.registry import known
from tests.apps import Answer, ScriptedApp, Seen
from tests.conformance.secretstores import SCENARIOS, Candidate, Suite
from tests.harness_components import opened


def local_file(folder: Path, monkeypatch: pytest.MonkeyPatch, texts: Mapping[str, str]) -> Any:
    (folder / "s.json").write_text(json.dumps(texts))
    return opened("secretstores.local.file", folder, {"secretsFile": str(folder / "s.json")})


def local_env(folder: Path, monkeypatch: pytest.MonkeyPatch, texts: Mapping[str, str]) -> Any:
    for name, text in texts.items():
        monkeypatch.setenv(name, text)
    return opened("secretstores.local.env", folder)


def systemd(folder: Path, monkeypatch: pytest.MonkeyPatch, texts: Mapping[str, str]) -> Any:
    credentials = folder / "credentials"
    credentials.mkdir(exist_ok=True)
    for name, text in texts.items():
        (credentials / name).write_text(text)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    return opened("secretstores.systemd", folder)


@asynccontextmanager
async def hashicorp_vault(folder: Path, monkeypatch: pytest.MonkeyPatch, texts: Mapping[str, str]) -> AsyncIterator[Any]:
    """Beside a server that speaks the key/value engine's documented HTTP API (no Vault is packaged here)."""
    below = "/v1/secret/data/dapr/"

    def answer(seen: Seen) -> Answer:
        path = unquote(seen.target.partition("?")[0])
        if seen.header("x-vault-token") != "t0ken":
            return Answer.json({"errors": ["permission denied"]}, 403)
        if seen.method == "LIST" and path == "/v1/secret/metadata/dapr/":
            return Answer.json({"data": {"keys": [*texts, "deeper/"]}})
        if seen.method == "LIST" and path == "/v1/secret/metadata/dapr/deeper/":
            return Answer.json({"data": {"keys": ["several"]}})
        if path == f"{below}deeper/several":
            return Answer.json({"data": {"data": {"a": "1", "b": "2"}, "metadata": {"version": 1}}})
        name = path.removeprefix(below)
        if not path.startswith(below) or name not in texts:
            return Answer.json({"errors": []}, 404)
        return Answer.json({"data": {"data": {name: texts[name]}, "metadata": {"version": 1}}})

    async with ScriptedApp(default=answer) as server:
        fields = {"vaultAddr": f"http://127.0.0.1:{server.port}", "vaultToken": "t0ken"}
        async with opened("secretstores.hashicorp.vault", folder, fields) as store:
            yield store


CANDIDATES = {
    "secretstores.hashicorp.vault/v1": hashicorp_vault,
    "secretstores.local.env/v1": local_env,
    "secretstores.local.file/v1": local_file,
    "secretstores.systemd/v1": systemd,
}


def test_every_secret_store_of_the_catalogue_is_here() -> None:
    assert sorted(CANDIDATES) == sorted(name for name in known() if name.startswith("secretstores."))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("component", CANDIDATES)
def test_secretstores(component: str, scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Candidate(component, partial(CANDIDATES[component], tmp_path, monkeypatch), component == "secretstores.local.env/v1")
    asyncio.run(getattr(Suite(), scenario)(one))


async def test_vault_says_what_is_wrong(tmp_path: Path) -> None:
    vault = partial(opened, "secretstores.hashicorp.vault", tmp_path)
    for fields, text in (
        ({}, "exactly one of vaultToken and vaultTokenMountPath"),
        ({"vaultToken": "t", "vaultTokenMountPath": "/x"}, "both are given"),
        ({"vaultTokenMountPath": str(tmp_path / "none")}, "couldn't read vault token"),
        ({"vaultToken": "t", "vaultAddr": "ftp://x"}, "is no address"),
    ):
        with pytest.raises(Invalid, match=text):
            async with vault(fields):
                pass
    async with vault({"vaultToken": "s3cret", "vaultAddr": "http://127.0.0.1:1"}) as store:
        with pytest.raises(Unavailable) as refused:
            await store.get("a", {})
        assert "s3cret" not in str(refused.value)


async def test_vault_gives_a_secret_as_one_text_and_by_version(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")

    def answer(seen: Seen) -> Answer:
        if seen.target == "/v1/kv/data/a?version=3" and seen.header("x-vault-token") == "t0ken":
            return Answer.json({"data": {"data": {"n": 1}}})
        return Answer.json({"errors": ["no"]}, 500)

    async with ScriptedApp(default=answer) as server:
        fields = {"vaultAddr": f"http://127.0.0.1:{server.port}", "vaultTokenMountPath": str(tmp_path / "token"), "vaultValueType": "text"}
        async with opened("secretstores.hashicorp.vault", tmp_path, fields | {"enginePath": "kv", "vaultKVUsePrefix": "false"}) as store:
            assert await store.get("a", {"version_id": "3"}) == {"a": '{"n":1}'}
            with pytest.raises(ComponentError, match="status code 500"):
                await store.get("a", {})
