"""The configuration suite over the components of the catalogue."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from components.configuration.sqlite import create, put
from edge.registry import known
from tests.conformance.configuration import SCENARIOS, Candidate, Suite
from tests.harness_components import opened
from tests.harness_servers import Postgres, Redis

Ask = Callable[[str], object]


def sqlite(ask: Ask, folder: Path, prefix: str) -> Candidate:
    file = folder / "c.db"

    async def set_(key: str, value: str, version: str) -> None:
        with sqlite3.connect(file, timeout=10) as tx:
            create(tx, "configuration")
            put(tx, "configuration", key, value)
            tx.execute("UPDATE configuration SET version = ? WHERE key = ?", (version, key))
        tx.close()

    async def remove(key: str) -> None:
        with sqlite3.connect(file, timeout=10) as tx:
            tx.execute("DELETE FROM configuration WHERE key = ?", (key,))
        tx.close()

    fields = {"connectionString": str(file), "pollInterval": "20ms"}
    return Candidate("configuration.sqlite", partial(opened, "configuration.sqlite", folder, fields), set_, remove, prefix)


def redis(ask: Ask, folder: Path, prefix: str) -> Candidate:
    server = ask("redis")
    assert isinstance(server, Redis)

    async def set_(key: str, value: str, version: str) -> None:
        await server.command("SET", key, f"{value}||{version}")

    async def remove(key: str) -> None:
        await server.command("DEL", key)

    async def away() -> None:
        await asyncio.to_thread(server.stop)

    async def back() -> None:
        await asyncio.to_thread(server.start)

    fields = {"redisHost": server.host, "redisDB": "3"}
    one = partial(opened, "configuration.redis", folder, fields)
    return Candidate("configuration.redis", one, set_, remove, prefix, away, back)


TRIGGER = """
CREATE OR REPLACE FUNCTION tell_configuration() RETURNS trigger AS $$
BEGIN PERFORM pg_notify('settings', json_build_object('data', NEW)::text); RETURN NEW; END $$ LANGUAGE plpgsql;
CREATE TABLE IF NOT EXISTS settings (key text, value text NOT NULL, version text NOT NULL, metadata json, PRIMARY KEY (key, version));
CREATE OR REPLACE TRIGGER tell AFTER INSERT OR UPDATE ON settings FOR EACH ROW EXECUTE FUNCTION tell_configuration();
"""


def postgresql(ask: Ask, folder: Path, prefix: str) -> Candidate:
    server = ask("postgres")
    assert isinstance(server, Postgres)
    server.sql(TRIGGER)

    async def set_(key: str, value: str, version: str) -> None:
        await asyncio.to_thread(server.sql, f"INSERT INTO settings VALUES ('{key}', '{value}', '{version}', '{{\"unit\": \"C\"}}')")

    async def remove(key: str) -> None:
        await asyncio.to_thread(server.sql, f"DELETE FROM settings WHERE key = '{key}'")

    async def away() -> None:
        await asyncio.to_thread(server.stop)

    async def back() -> None:
        await asyncio.to_thread(server.start)

    fields = {"connectionString": server.words, "table": "settings", "notifyChannel": "settings"}
    one = partial(opened, "configuration.postgresql", folder, fields)
    return Candidate("configuration.postgresql", one, set_, remove, prefix, away, back, removal_told=False)


CANDIDATES = {"configuration.postgresql/v1": postgresql, "configuration.redis/v1": redis, "configuration.sqlite/v1": sqlite}


def test_every_configuration_store_of_the_catalogue_is_here() -> None:
    assert sorted(CANDIDATES) == sorted(name for name in known() if name.startswith("configuration."))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("component", CANDIDATES)
def test_configuration(component: str, scenario: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    one = CANDIDATES[component](request.getfixturevalue, tmp_path, uuid4().hex[:8])
    asyncio.run(getattr(Suite(), scenario)(one))
