"""Redis and PostgreSQL as bindings, on real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import Closed, ComponentError, Invalid, Unavailable
from tests.harness import free_port
from tests.harness_components import opened
from tests.harness_servers import Postgres, needs_postgresql, needs_redis, postgresql_server, redis_server


@needs_redis
async def test_redis_keys(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        async with opened("bindings.redis", tmp_path, {"redisHost": server.host}) as binding:
            assert await binding.invoke("create", b'"red"', {"key": "lamp", "ttlInSeconds": "100"}) is None
            assert (await binding.invoke("get", b"", {"key": "lamp"})).data == b'"red"'
            assert 0 < await binding._client.redis.ttl("lamp") <= 100
            assert (await binding.invoke("get", b"", {"key": "lamp", "delete": "true"})).data == b'"red"'
            assert (await binding.invoke("get", b"", {"key": "lamp"})).data == b""
            await binding.invoke("increment", b"", {"key": "count"})
            await binding.invoke("increment", b"", {"key": "count"})
            assert (await binding.invoke("get", b"", {"key": "count"})).data == b"2"
            await binding.invoke("delete", b"", {"key": "count"})
            assert (await binding.invoke("get", b"", {"key": "count"})).data == b""
            for metadata, text in (
                ({}, "missing key"),
                ({"key": "k", "ttlInSeconds": "0"}, "ttl value must be higher than zero: actual is '0'"),
            ):
                with pytest.raises(Invalid, match=text):
                    await binding.invoke("create", b"1", metadata)
            await binding.invoke("create", b"x", {"key": "k"})
            with pytest.raises(ComponentError, match=r"^ERR value is not an integer"):
                await binding.invoke("increment", b"", {"key": "k"})


@needs_redis
async def test_a_redis_that_is_away_is_no_failed_start(tmp_path: Path) -> None:
    async with opened("bindings.redis", tmp_path, {"redisHost": f"127.0.0.1:{free_port()}", "dialTimeout": "200ms"}) as binding:
        assert binding.unhealthy()
        with pytest.raises(Unavailable, match="connection refused"):
            await binding.invoke("get", b"", {"key": "k"})


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with postgresql_server(tmp_path_factory.mktemp("pg")) as server:
        yield server


@needs_postgresql
async def test_postgresql_statements(tmp_path: Path, postgres: Postgres) -> None:
    columns = "id int, name text, at timestamptz, big numeric, doc jsonb, raw bytea, day date, ok bool, tags text[], key uuid"
    row = [1, "fern", "2024-05-06T07:08:09.5Z", "2.50", {"a": [1, None]}, "\\x00ff", "2024-05-06", True, ["a"], "0" * 31 + "1"]
    insert = "INSERT INTO plant VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)"
    async with opened("bindings.postgresql", tmp_path, {"connectionString": postgres.url}) as binding:
        made = await binding.invoke("exec", b"", {"sql": f"CREATE TABLE plant({columns})"})
        done = await binding.invoke("exec", b"", {"sql": insert, "params": json.dumps(row)})
        found = await binding.invoke("query", b"", {"sql": "SELECT * FROM plant WHERE id = $1", "params": "[1]"})
        nothing = await binding.invoke("query", b"", {"sql": "SELECT 1 WHERE false"})

    assert (made.metadata["rows-affected"], done.metadata["rows-affected"]) == ("0", "1")
    assert set(found.metadata) == {"operation", "sql", "start-time", "end-time", "duration"}
    expected = [1, "fern", "2024-05-06T07:08:09.5Z", 2.5, {"a": [1, None]}, "AP8=", "2024-05-06T00:00:00Z", True, ["a"], [0] * 15 + [1]]
    assert json.loads(found.data) == [expected]
    assert nothing.data == b"[]"


@needs_postgresql
async def test_postgresql_refusals(tmp_path: Path, postgres: Postgres) -> None:
    async with opened("bindings.postgresql", tmp_path, {"connectionString": postgres.url, "timeout": "1s"}) as binding:
        for metadata, text in (
            ({}, "required metadata not set: sql"),
            ({"sql": "SELEKT"}, "error executing query: .*syntax error"),
            ({"sql": "SELECT $1::int", "params": '["x"]'}, "error executing query"),
            ({"sql": "SELECT 1", "params": "[1]"}, "error executing query"),
            ({"sql": "SELECT pg_sleep(30)"}, "context deadline exceeded"),
        ):
            with pytest.raises(ComponentError, match=text):
                await binding.invoke("query", b"", metadata)
        await binding.invoke("close", b"", {})
        await binding.invoke("close", b"", {})
        with pytest.raises(Closed, match="component is closed"):
            await binding.invoke("query", b"", {"sql": "SELECT 1"})
