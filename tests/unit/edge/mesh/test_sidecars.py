"""Apps of one daemon call each other without a network hop, yet see and are refused what a hop would show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.app import App
from edge.blocks.invoke import InvokeService
from edge.blocks.policies import AppPolicies
from edge.channel.http import HttpChannel
from edge.component import Context
from edge.config.configuration import AccessControl, AppOperation, AppPolicy, NameResolution
from edge.database import Database
from edge.errors import EdgeError
from edge.identity.spiffe import Identity
from edge.mesh.access import AccessList
from edge.mesh.names import Names, texts
from edge.mesh.sidecars import Mesh
from edge.model import InvokeRequest, InvokeResponse
from edge.resiliency import AppTarget, Retry, Rules
from edge.tasks import Tasks
from tests.apps import Answer, ScriptedApp

OPEN = AccessControl()
ONLY_GET = AccessControl("deny", "public", (AppPolicy("kitchen", "deny", "public", "default", (AppOperation("/jam", ("GET",), "allow"),)),))


@dataclass
class Daemon:
    """kitchen and cellar, and mute without an app port."""

    invoke: InvokeService
    kitchen: App
    server: ScriptedApp

    async def call(self, target: str, method: str = "POST", path: str = "jam") -> InvokeResponse:
        return await self.invoke.invoke(self.kitchen, target, InvokeRequest(method, path, body=b"plum"))


@asynccontextmanager
async def daemon(folder: Path, access: AccessControl = OPEN, rules: Rules | None = None) -> AsyncIterator[Daemon]:
    async def none() -> Database:
        raise AssertionError("no database here")

    answers = {"/jam": Answer(201, b"jam"), "/fails": [Answer(500), Answer(200, b"at last")]}
    async with ScriptedApp(dict(answers)) as server, Tasks("test") as tasks:
        kitchen, cellar, mute = App("kitchen"), App("cellar", port=server.port), App("mute")
        cellar.channel = HttpChannel(cellar)
        lookups = NameResolution("sqlite", "v1", {"connectionString": str(folder / "names.db")})
        names = Names(lookups, lambda name: Context(name, ("kitchen",), "default", folder, tasks, none))
        listed = AccessList(access, http=True)
        mesh = Mesh(lambda: [kitchen, cellar, mute], names, lambda app: listed, lambda app: Identity("public", app.namespace, app.id))
        try:
            yield Daemon(InvokeService(AppPolicies(lambda app_id: rules or Rules()), None, mesh), kitchen, server)
        finally:
            await mesh.close()
            await cellar.channel.close()


async def test_the_callee_sees_who_calls(tmp_path: Path) -> None:
    async with daemon(tmp_path) as one:
        answer = await one.call("cellar")

    seen = one.server.seen[0]
    ids = [seen.header(f"dapr-{name}") for name in ("caller-app-id", "callee-app-id", "caller-namespace")]
    assert (answer.status, answer.body, seen.body) == (201, b"jam", b"plum")
    assert (ids, seen.header("x-forwarded-for") is not None) == (["kitchen", "cellar", "default"], True)
    assert not (tmp_path / "names.db").exists()


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("mute", 500, "failed to invoke, id: mute, err: rpc error: code = Internal desc = app channel is not initialized"),
        ("kitchen", 500, "failed to invoke, id: kitchen, err: cannot invoke local endpoint: app channel not initialized"),
        ("nobody", 500, "failed to invoke, id: nobody, err: no host found with the given ID"),
        ("cellar.other", 500, "failed to invoke, id: cellar.other, err: no host found with the given ID"),
    ],
)
async def test_what_cannot_be_called_is_refused_as_by_a_sidecar(tmp_path: Path, target: str, status: int, text: str) -> None:
    async with daemon(tmp_path) as one:
        with pytest.raises(EdgeError) as refused:
            await one.call(target)

    assert (refused.value.http, refused.value.message) == (status, text)


async def test_access_lists_hold_within_a_daemon(tmp_path: Path) -> None:
    async with daemon(tmp_path, ONLY_GET) as one:
        allowed = await one.call("cellar", "GET")
        with pytest.raises(EdgeError) as refused:
            await one.call("cellar", "POST")

    assert (allowed.status, refused.value.http, len(one.server.seen)) == (201, 403, 1)
    assert "id: spiffe://public/ns/default/kitchen operation: jam verb: POST" in refused.value.message


async def test_policies_hold_within_a_daemon(tmp_path: Path) -> None:
    rules = Rules(apps={"cellar": AppTarget(retry="once")})
    rules.retries["once"] = Retry(duration=0.01, max_retries=1)

    async with daemon(tmp_path, OPEN, rules) as one:
        answer = await one.call("cellar", path="fails")

    assert (answer.status, answer.body, len(one.server.seen)) == (200, b"at last", 2)


def test_a_resolver_s_structure_becomes_metadata() -> None:
    found = texts({"connectionString": "n.db", "updateInterval": "5s", "selfRegister": True, "client": {"Address": "a:1"}, "n": 3})

    assert found == {"connectionString": "n.db", "updateInterval": "5s", "selfRegister": "true", "client": '{"Address": "a:1"}', "n": "3"}
    assert texts(None) == {}
