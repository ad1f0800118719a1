"""Resolvers on a real file, a real link, and a scripted Consul agent."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from edge import registry, spec
from edge.component import Context
from edge.database import Database
from edge.errors import ComponentError, NotFound, Unavailable
from edge.model import Address
from edge.tasks import Tasks
from tests.apps import Answer, ScriptedApp


@asynccontextmanager
async def resolver(kind: str, folder: Path, **raw: str) -> AsyncIterator[Any]:
    async def none() -> Database:
        raise AssertionError("no database here")

    async with Tasks("test") as tasks:
        cls: Any = registry.load(f"nameresolution.{kind}")
        metadata, problems = spec.parse(cls.Metadata, raw)
        assert not problems
        made = cls(metadata, Context("names", ("kitchen",), "default", folder, tasks, none))
        await made.open()
        try:
            yield made
        finally:
            await made.close()


# --- sqlite
def counted(path: Path) -> int:
    with closing(sqlite3.connect(path)) as reader:
        number: int = reader.execute("SELECT count(*) FROM hosts").fetchone()[0]
        return number


async def test_sqlite_two_daemons_share_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "names.db")
    async with resolver("sqlite", tmp_path, connectionString=path) as one, resolver("sqlite", tmp_path, connectionString=path) as other:
        await one.register("cellar", Address("192.0.2.7", 5000))

        assert await other.resolve("cellar", "default") == Address("192.0.2.7", 5000)
        with pytest.raises(NotFound, match="no host found with the given ID"):
            await other.resolve("nobody", "default")


async def test_sqlite_rows_look_as_daprd_s_and_go_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "names.db"
    async with resolver("sqlite", tmp_path, connectionString=str(path)) as one:
        await one.register("cellar", Address("::1", 5000))
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            rows = reader.execute("SELECT address, app_id, namespace, unixepoch() - last_update < 5 FROM hosts").fetchall()
            level = reader.execute("SELECT value FROM metadata WHERE key = 'nr-migrations'").fetchall()
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        left = reader.execute("SELECT count(*) FROM hosts").fetchone()

    assert (rows, level, left) == ([("[::1]:5000", "cellar", "", 1)], [("1",)], (0,))


async def test_sqlite_old_rows_do_not_count_and_deleted_ones_come_back(tmp_path: Path) -> None:
    path = tmp_path / "names.db"
    async with resolver("sqlite", tmp_path, connectionString=str(path), updateInterval="2s", timeout="1s") as one:
        await one.register("cellar", Address("127.0.0.1", 5000))
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("UPDATE hosts SET last_update = last_update - 60")
        with pytest.raises(NotFound):
            await one.resolve("cellar", "default")
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("DELETE FROM hosts")
        async with asyncio.timeout(10):
            while counted(path) == 0:
                await asyncio.sleep(0.05)


async def test_sqlite_an_interval_too_short_for_the_timeout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match="at least 1s greater"):
        async with resolver("sqlite", tmp_path, connectionString=str(tmp_path / "n.db"), updateInterval="1s"):
            pass


# --- mdns
async def test_mdns_two_daemons_find_each_other_on_this_machine(tmp_path: Path) -> None:
    async with resolver("mdns", tmp_path) as one, resolver("mdns", tmp_path) as other:
        await one.register("cellar-of-a-test", Address("127.0.0.1", 5000))

        assert await other.resolve("cellar-of-a-test", "default") == Address("127.0.0.1", 5000)


async def test_mdns_who_left_is_not_found(tmp_path: Path) -> None:
    async with resolver("mdns", tmp_path) as other:
        async with resolver("mdns", tmp_path) as one:
            await one.register("guest-of-a-test", Address("127.0.0.1", 5000))
            await other.resolve("guest-of-a-test", "default")
        async with asyncio.timeout(10):
            while other._known["guest-of-a-test"].next() is not None:
                await asyncio.sleep(0.02)

        with pytest.raises(NotFound, match="couldn't find service: guest-of-a-test"):
            await other.resolve("guest-of-a-test", "default")


# --- nameformat
@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("{appid}.mesh:50002", Address("cellar.mesh", 50002)),
        ("dns:///{appid}.mesh", Address("cellar.mesh", 443)),
        ("[fd00::1]:7", None),
    ],
)
async def test_nameformat_puts_the_id_into_the_text(tmp_path: Path, text: str, address: Address | None) -> None:
    if address is None:
        with pytest.raises(ComponentError, match="must contain"):
            async with resolver("nameformat", tmp_path, format=text):
                pass
        return
    async with resolver("nameformat", tmp_path, format=text) as one:
        assert await one.resolve("cellar", "default") == address


# --- consul
async def test_consul_registers_as_daprd_and_takes_healthy_instances(tmp_path: Path) -> None:
    found = [{"Node": {"Address": "192.0.2.9"}, "Service": {"Address": "", "Meta": {"DAPR_PORT": "5001"}}}]
    answers: Any = {
        "/v1/agent/self": Answer.json({}),
        "/v1/agent/service/register": Answer(200),
        "/v1/health/service/cellar": Answer.json(found),
    }
    async with ScriptedApp({**answers, "/v1/health/service/nobody": Answer.json([])}) as agent:
        client = f'{{"Address": "127.0.0.1:{agent.port}", "Token": "t"}}'
        async with resolver("consul", tmp_path, client=client, selfRegister="true") as one:
            await one.register("kitchen", Address("192.0.2.7", 5000, {"http_port": "3500", "app_port": "8000"}))

            assert await one.resolve("cellar", "default") == Address("192.0.2.9", 5001)
            with pytest.raises(NotFound, match="no healthy services found with AppID 'nobody'"):
                await one.resolve("nobody", "default")

    registration = agent.on("/v1/agent/service/register")[0]
    body = registration.json()
    assert (body["ID"], body["Port"], body["Meta"]) == ("kitchen-192.0.2.7-3500", 8000, {"DAPR_PORT": "5000"})
    assert body["Checks"][0]["HTTP"] == "http://192.0.2.7:3500/v1.0/healthz?appid=kitchen"
    assert registration.header("x-consul-token") == "t"


async def test_consul_without_an_agent_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"consul agent at 127\.0\.0\.1:1 does not answer"):
        async with resolver("consul", tmp_path, client='{"Address": "127.0.0.1:1"}'):
            pass
