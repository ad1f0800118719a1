"""A server that is away at start or goes away later: the component says so, its calls fail at once and clearly, and it comes back."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ComponentError, Unavailable
from edge.model import SetItem
from tests.harness_components import opened
from tests.harness_mqtt import until
from tests.harness_servers import Postgres, Redis, needs_postgresql, needs_redis, server_port


async def comes_and_goes(server: Any, type_: str, folder: Path, raw: dict[str, str]) -> None:
    item = SetItem("k", b"1", True)
    async with opened(type_, folder, raw) as store:
        assert "connection refused" in store.unhealthy()
        began = time.monotonic()
        with pytest.raises(Unavailable, match=f"dial tcp 127.0.0.1:{server.port}: connect: connection refused"):
            await store.get("k")
        assert time.monotonic() - began < 2

        await asyncio.to_thread(server.start)
        await until(lambda: store.unhealthy() is None, 30)
        await store.set(item)

        await asyncio.to_thread(server.stop)
        with pytest.raises(Unavailable):
            await store.set(item)
        assert store.unhealthy()
        await asyncio.to_thread(server.start)
        await until(lambda: store.unhealthy() is None, 30)
        found = await store.get("k")
        assert found.data == b"1"


@needs_redis
def test_redis_comes_and_goes(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis", server_port())
    try:
        asyncio.run(comes_and_goes(server, "state.redis", tmp_path, {"redisHost": server.host}))
    finally:
        server.stop()


@needs_postgresql
@pytest.mark.parametrize("type_", ["state.postgresql"])
def test_postgresql_comes_and_goes(type_: str, tmp_path: Path) -> None:
    server = Postgres(tmp_path / "pg", server_port())
    try:
        asyncio.run(comes_and_goes(server.make(), type_, tmp_path, {"connectionString": server.words}))
    finally:
        server.close()


@needs_redis
def test_a_refused_login_is_an_error_at_start(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis", server_port(), ("--requirepass", "right")).start()

    async def main() -> None:
        with pytest.raises(ComponentError, match="WRONGPASS") as caught:
            async with opened("state.redis", tmp_path, {"redisHost": server.host, "redisPassword": "wr0ng"}):
                pass
        assert not isinstance(caught.value, Unavailable) and "wr0ng" not in str(caught.value)
        async with opened("state.redis", tmp_path, {"redisHost": server.host, "redisPassword": "right"}) as store:
            await store.set(SetItem("k", b"1", True))

    try:
        asyncio.run(main())
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("type_", "raw", "text"),
    [
        ("state.redis", {}, "redisHost is required"),
        ("state.redis", {"redisHost": "h:x"}, "no valid port"),
        ("state.redis", {"redisHost": "h:1", "redisPort": "2"}, "already contains port 1"),
        ("state.redis", {"redisHost": "h", "queryIndexes": "{"}, "error parsing query index schema"),
        ("lock.redis", {"redisHost": "h", "redisType": "cluster"}, "does not support connecting to Redis Cluster"),
        ("state.postgresql", {}, "connectionString is missing"),
        ("state.postgresql", {"connectionString": "host=localhost nonsense"}, "no list of key=value"),
        ("state.postgresql", {"connectionString": "host=h port=x"}, "the port is no number"),
        ("state.postgresql", {"connectionString": "host=h", "tableName": "a; DROP"}, "invalid table name"),
        ("state.postgresql", {"connectionString": "host=h sslmode=maybe"}, "sslmode is one of"),
        ("configuration.postgresql", {"connectionString": "host=h", "table": "Upper"}, "upper cased table names"),
        ("configuration.postgresql", {"connectionString": "host=h", "table": "t", "notifyChannel": "x;y"}, "invalid notifyChannel name"),
    ],
)
def test_bad_fields_are_named(type_: str, raw: dict[str, str], text: str, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ComponentError, match=text):
            async with opened(type_, tmp_path, raw):
                pass

    asyncio.run(main())


@pytest.mark.parametrize("type_", ["state.redis", "state.postgresql"])
def test_a_silent_server_holds_up_neither_start_nor_calls(type_: str, tmp_path: Path) -> None:
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(100)
    port = silent.getsockname()[1]
    raw = {
        "state.redis": {"redisHost": f"127.0.0.1:{port}"},
        "state.postgresql": {"connectionString": f"host=127.0.0.1 port={port} user=x"},
    }

    async def main() -> None:
        began = time.monotonic()
        async with opened(type_, tmp_path, raw[type_]) as store:
            assert time.monotonic() - began < 6
            assert store.unhealthy()
            began = time.monotonic()
            for _ in range(20):
                with pytest.raises(Unavailable):
                    await store.get("k")
            assert time.monotonic() - began < 2

    asyncio.run(main())
    silent.close()
