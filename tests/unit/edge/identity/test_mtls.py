"""Mutual TLS between two sidecars in this process: who gets through, who does not, and a new root without a lost call."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from edge.app import App, AppUnavailable
from edge.channel.http import HttpChannel
from edge.cli.ca import ca as ca_command
from edge.component import Context
from edge.config.configuration import AccessControl, AppOperation, AppPolicy, NameResolution
from edge.database import Database
from edge.identity import ca as authority
from edge.identity.ca import Authority
from edge.identity.credentials import Credentials, IdentityError
from edge.identity.source import Folder, Keeper, source_of
from edge.identity.spiffe import Identity
from edge.internal_port import InternalPort
from edge.mesh.access import AccessList
from edge.mesh.names import Names
from edge.mesh.sidecars import Mesh
from edge.model import InvokeRequest, InvokeResponse
from edge.rpc.room import Room
from edge.settings import AppSettings
from edge.tasks import Tasks
from tests.apps import Answer, ScriptedApp

POLICY = AppPolicy("kitchen", "deny", "farm", "default", (AppOperation("/jam", ("POST",), "allow"),))
OPEN, LISTED = AccessControl(), AccessControl("deny", "farm", (POLICY,))


@dataclass
class Rig:
    """kitchen calls cellar, which is behind `port`."""

    kitchen: App
    caller: Mesh
    port: InternalPort
    app: ScriptedApp

    async def call(self, method: str = "jam") -> InvokeResponse:
        return await self.caller.invoke(self.kitchen, "cellar", "default", InvokeRequest("POST", method, body=b"plum"))

    async def held(self, folder: Path) -> None:
        """The caller has the certificate that is in the folder now."""
        self.caller.trust(self.kitchen, (await Folder(folder, "kitchen", "default").get()).client())


def mesh(tasks: Tasks, folder: Path, apps: Sequence[App], access: AccessControl) -> Mesh:
    async def none() -> Database:
        raise AssertionError("no database here")

    settings = NameResolution("sqlite", "v1", {"connectionString": str(folder / "names.db")})
    names = Names(settings, lambda name: Context(name, ("kitchen",), "default", folder, tasks, none))
    return Mesh(lambda: apps, names, lambda app: AccessList(access, http=True), lambda app: Identity("farm", app.namespace, app.id))


@asynccontextmanager
async def rig(folder: Path, access: AccessControl = OPEN, **other: Any) -> AsyncIterator[Rig]:
    """callee: whose certificate the port shows. caller: that of the other side."""
    async with ScriptedApp({"/jam": Answer(200, b"jam"), "/lid": Answer(200, b"lid")}) as server, Tasks("test") as tasks:
        cellar = App("cellar", port=server.port, mtls=True)
        cellar.channel = HttpChannel(cellar)
        kitchen = App("kitchen", mtls=True)
        blocks: Any = SimpleNamespace(room=Room())
        settings = AppSettings("cellar", mtls=True, internal_listen_address="127.0.0.1")
        callee = mesh(tasks, folder, [cellar], access)
        port = InternalPort(settings, cellar, blocks, callee)
        await callee.names.announce("cellar", port.bind())
        await port.renewed(other.get("callee") or await Folder(folder, "cellar", "default").get())
        caller = mesh(tasks, folder, [kitchen], OPEN)
        made = Rig(kitchen, caller, port, server)
        caller.trust(kitchen, (other.get("caller") or await Folder(folder, "kitchen", "default").get()).client())
        try:
            yield made
        finally:
            await caller.close()
            await port.close()
            await callee.close()
            await cellar.channel.close()


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ca")
    made = Authority(folder)
    made.create("farm")
    for app in ("kitchen", "cellar", "stranger"):
        made.issue(app)
    (folder / "issuer.key").rename(folder / "issuer.key.away")
    return folder


async def credentials(folder: Path, app: str) -> Credentials:
    return await Folder(folder, app, "default").get()


async def test_the_access_list_sees_the_caller_s_identity(farm: Path) -> None:
    async with rig(farm, LISTED) as made:
        allowed = await made.call("jam")
        with pytest.raises(AppUnavailable) as denied:
            await made.call("lid")
        made.caller.trust(made.kitchen, (await credentials(farm, "stranger")).client())
        with pytest.raises(AppUnavailable) as unknown:
            await made.call("jam")

    assert allowed.body == b"jam"
    text = "rpc error: code = PermissionDenied desc = access control policy has denied access to id: spiffe://farm/ns/default/"
    assert str(denied.value) == f"{text}kitchen operation: lid verb: POST"
    assert str(unknown.value) == f"{text}stranger operation: jam verb: POST"
    assert [seen.target for seen in made.app.seen] == ["/jam"]


async def test_another_app_at_the_callee_s_address_is_not_called(farm: Path) -> None:
    async with rig(farm, callee=await credentials(farm, "stranger")) as made:
        with pytest.raises(AppUnavailable, match=r"unexpected ID.*stranger.*wanted /ns/default/cellar"):
            await made.call()

    assert not made.app.seen


@pytest.mark.parametrize("side", ["callee", "caller"])
@pytest.mark.parametrize("what", ["another authority", "expired", "not yet"])
async def test_certificates_that_do_not_count_are_refused(
    farm: Path, tmp_path: Path, side: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "other"
    if what == "another authority":
        Authority(folder).create("farm")
    else:
        shutil.copytree(farm, folder)
        (folder / "issuer.key.away").rename(folder / "issuer.key")
    app = {"callee": "cellar", "caller": "kitchen"}[side]
    skews = {"expired": timedelta(days=2), "not yet": timedelta(days=-1)}
    monkeypatch.setattr(authority, "SKEW", skews.get(what, authority.SKEW))
    Authority(folder).issue(app, life=timedelta(days=-1) if what == "expired" else timedelta(days=2))
    bad = Credentials((farm / "ca.crt").read_text(), (folder / f"{app}.crt").read_text(), (folder / f"{app}.key").read_text())

    async with rig(farm, **{side: bad}) as made:
        with pytest.raises(AppUnavailable, match="code = Unavailable"):
            await made.call()

    assert not made.app.seen


async def test_a_caller_in_the_clear_is_refused(farm: Path) -> None:
    async with rig(farm) as made:
        made.caller._trusted.clear()
        made.kitchen.mtls = False
        with pytest.raises(AppUnavailable, match="code = Unavailable"):
            async with asyncio.timeout(10):
                await made.call()

    assert not made.app.seen


async def test_a_new_root_loses_no_call(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    made = Authority(folder)
    made.create("farm")
    made.issue("kitchen")
    made.issue("cellar")
    failures: list[Exception] = []

    async with rig(folder) as one:
        calls, going = 0, True

        async def load() -> None:
            nonlocal calls
            while going:
                try:
                    await one.call()
                except AppUnavailable as error:
                    failures.append(error)
                calls += 1

        loading = asyncio.create_task(load())
        for step in (made.prepare, made.switch, made.finish):
            step()
            before = calls
            await one.port.renewed(await credentials(folder, "cellar"))
            await one.held(folder)
            async with asyncio.timeout(10):
                while calls < before + 3:
                    await asyncio.sleep(0.01)
        going = False
        await loading

    assert (failures, calls >= 9) == ([], True)
    assert (folder / "ca.crt").read_bytes() == (folder / "root.crt").read_bytes()


async def test_a_folder_with_the_issuer_s_key_issues_by_itself_and_renews(tmp_path: Path) -> None:
    Authority(tmp_path).create("farm")
    source = Folder(tmp_path, "pump", "default")

    first = await source.get()
    again = await source.get()
    begin = time.time()
    Authority(tmp_path).issue("pump", life=timedelta(seconds=1))
    renewed = await source.get()

    assert (first, authority.identity_of(tmp_path / "pump.crt").url) == (again, "spiffe://farm/ns/default/pump")
    assert renewed.until > begin + 86400
    assert (tmp_path / "pump.key").stat().st_mode & 0o777 == 0o600


async def test_a_keeper_tells_of_a_certificate_that_somebody_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.identity.source.LOOK", 0.01)
    made, told = Authority(tmp_path), asyncio.Event()
    made.create("farm")
    made.issue("pump")

    async def changed(got: Credentials) -> None:
        told.set()

    keeper = Keeper(Folder(tmp_path, "pump", "default"), changed)
    first = await keeper.first()
    running = asyncio.create_task(keeper.run())
    await asyncio.to_thread(made.renew)
    async with asyncio.timeout(10):
        await told.wait()
    running.cancel()

    assert keeper.held != first


@pytest.mark.parametrize(
    ("environ", "sentry", "text"),
    [
        ({}, "", "trust anchors are required"),
        ({"DAPR_TRUST_ANCHORS": "-----BEGIN CERTIFICATE-----"}, "", "sentry address is required"),
    ],
)
def test_what_is_missing_is_said(environ: dict[str, str], sentry: str, text: str) -> None:
    with pytest.raises(IdentityError, match=text):
        source_of("pump", "default", sentry, environ)


def test_the_command_line_makes_and_shows_certificates(tmp_path: Path) -> None:
    run, where = CliRunner(), ["--dir", str(tmp_path / "ca")]

    words = (["create"], ["issue", "pump"], ["renew"], ["show"], ["create"], ["rotate"])
    results = [run.invoke(ca_command, [*each, *where]) for each in words]

    assert [result.exit_code for result in results] == [0, 0, 0, 0, 1, 2]
    assert "spiffe://public/ns/default/pump" in results[3].output
    assert "exists already; use `edged ca rotate`" in results[4].output
    assert (tmp_path / "ca" / "issuer.key").stat().st_mode & 0o777 == 0o600


def test_a_root_is_not_given_up_while_a_certificate_needs_it(tmp_path: Path) -> None:
    made = Authority(tmp_path)
    made.create("farm")
    made.issue("pump")
    made.prepare()
    shutil.copy(tmp_path / "pump.crt", tmp_path / "old")
    made.switch()
    shutil.copy(tmp_path / "old", tmp_path / "pump.crt")

    with pytest.raises(IdentityError, match="still signed by the old root"):
        made.finish()
