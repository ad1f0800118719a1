"""The state suite over the components of the catalogue."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from edge.app import App, Part, Parts
from edge.blocks.state import StateService
from edge.component import Ask as Write
from edge.component import Queryable
from edge.errors import ComponentError, EdgeError, EtagInvalid, EtagMismatch, Invalid
from edge.model import DeleteItem, SetItem
from edge.registry import known
from tests.conformance.state import SCENARIOS, Candidate, Suite
from tests.harness_components import opened
from tests.harness_servers import Postgres, Redis

UUID = "5f0c9a3e-3c1b-4a5e-9d8f-000000000000"
Ask = Callable[[str], object]


def in_memory(ask: Ask, folder: Path, prefix: str) -> Candidate:
    return Candidate("state.in-memory", partial(opened, "state.in-memory", folder), prefix, lasting=False)


def sqlite(ask: Ask, folder: Path, prefix: str) -> Candidate:
    fields = {"connectionString": str(folder / "s.db"), "queryApi": "true", "cleanupInterval": "200ms"}

    def stored(key: str) -> bool:
        with contextlib.closing(sqlite3.connect(folder / "s.db", timeout=10)) as tx:
            return bool(tx.execute("SELECT 1 FROM state WHERE key = ?", (key,)).fetchall())

    return Candidate("state.sqlite", partial(opened, "state.sqlite", folder, fields), prefix, stored=stored)


def redis(ask: Ask, folder: Path, prefix: str) -> Candidate:
    server = ask("redis")
    assert isinstance(server, Redis)
    one = partial(opened, "state.redis", folder, {"redisHost": server.host, "redisPassword": ""})
    return Candidate("state.redis", one, prefix, EtagInvalid, expiry_shown=False, delete_checks_missing=False)


def postgresql(ask: Ask, folder: Path, prefix: str) -> Candidate:
    server = ask("postgres")
    assert isinstance(server, Postgres)
    one = partial(opened, "state.postgresql", folder, {"connectionString": server.words, "cleanupInterval": "200ms"})
    return Candidate("state.postgresql", one, prefix, EtagInvalid, stored=partial(has_row, server, "state"))


def postgresql_v2(ask: Ask, folder: Path, prefix: str) -> Candidate:
    server = ask("postgres")
    assert isinstance(server, Postgres)
    fields = {"connectionString": server.url, "tablePrefix": "v2_", "cleanupInterval": "200ms"}
    one = partial(opened, "state.postgresql", folder, fields, version="v2")
    return Candidate("state.postgresql/v2", one, prefix, wrong_etag=UUID, stored=partial(has_row, server, "v2_state"))


def has_row(server: Postgres, table: str, key: str) -> bool:
    return server.sql(f"SELECT count(*) FROM {table} WHERE key = '{key}'") == "1"


CANDIDATES = {
    "state.in-memory/v1": in_memory,
    "state.sqlite/v1": sqlite,
    "state.redis/v1": redis,
    "state.postgresql/v1": postgresql,
    "state.postgresql/v2": postgresql_v2,
}


def test_every_state_store_of_the_catalogue_is_here() -> None:
    assert sorted(CANDIDATES) == sorted(name for name in known() if name.startswith("state."))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("component", CANDIDATES)
def test_state(component: str, scenario: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    one = CANDIDATES[component](request.getfixturevalue, tmp_path, uuid4().hex[:8])
    asyncio.run(getattr(Suite(), scenario)(one))


def test_sqlite_compares_numbers_as_numbers_and_is_no_query_store_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        one = sqlite(str, tmp_path, "")
        async with one.open() as store:
            values = [9, 10, 101, "10", True, None, {"n": 1}, [1]]
            for number, value in enumerate(values):
                await store.set(one.item(f"k{number}", {"v": value}))
            await store.set(SetItem(one.key("bytes"), b"\x00", False))

            async def ask(filter_: dict[str, object]) -> list[int]:
                found = await store.query({"filter": filter_}, {})
                return [int(item.key[-1]) for item in found.items]

            assert await ask({"GT": {"v": 9}}) == [1, 2]
            assert await ask({"EQ": {"v": 10}}) == [1] and await ask({"EQ": {"v": "10"}}) == [3]
            assert await ask({"EQ": {"v": True}}) == [4] and await ask({"EQ": {"v": None}}) == [5]
            assert await ask({"NEQ": {"v": 10}}) == [0, 2, 3, 4, 5, 6, 7]
            assert await ask({"EQ": {"v.n": 1}}) == [6]
            with pytest.raises(Invalid):
                await ask({"EQ": {'v"': 1}})
        async with opened("state.sqlite", tmp_path, {"connectionString": "other.db"}) as store:
            assert not isinstance(store, Queryable)

    asyncio.run(main())


UNCHECKED: dict[str, set[Write]] = {
    "state.in-memory/v1": {Write.DELETE_IN_TRANSACTION},
    "state.sqlite/v1": set(),
    "state.redis/v1": {Write.SET_IN_TRANSACTION, Write.DELETE_IN_TRANSACTION},
    "state.postgresql/v1": {Write.DELETE, Write.DELETE_IN_TRANSACTION},
    "state.postgresql/v2": {Write.DELETE, Write.DELETE_IN_TRANSACTION},
}
"""Writes at which Dapr's store of the type lets any option pass."""


@pytest.mark.parametrize("component", CANDIDATES)
def test_unknown_options_are_refused_where_daprs_store_refuses_them(component: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    async def main() -> set[Write]:
        one = CANDIDATES[component](request.getfixturevalue, tmp_path, uuid4().hex[:8])
        type_, version = component.split("/")
        passed = set()
        async with one.open() as opened_store:
            store = StateService(Parts([Part("jar", type_, version, opened_store, {})])).store(App("shop"), "jar")
            put, remove = SetItem("k", b"1", True, concurrency="who-knows"), DeleteItem("k", consistency="who-knows")
            for write, call in {
                Write.SET: lambda: store.save([put]),
                Write.DELETE: lambda: store.delete(remove),
                Write.SET_IN_TRANSACTION: lambda: store.transact([put]),
                Write.DELETE_IN_TRANSACTION: lambda: store.transact([remove]),
            }.items():
                with contextlib.suppress(EdgeError):
                    await call()
                    passed.add(write)
        return passed

    assert asyncio.run(main()) == UNCHECKED[component]


def test_postgresql_v2_reads_an_etag_as_daprs_store_does(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    async def main() -> None:
        one = postgresql_v2(request.getfixturevalue, tmp_path, uuid4().hex[:8])
        async with one.open() as store:
            for form in ('"{}"', "{{{}}}", "urn:uuid:{}", "URN:UUID:{}"):
                await store.set(one.item("k", 1))
                await store.set(one.item("k", 2, etag=form.format((await store.get(one.key("k"))).etag)))
            await store.delete(DeleteItem(one.key("k"), (await store.get(one.key("k"))).etag.replace("-", "")))

            wrong = {"x": "length: 1", "é" + "0" * 30: "format", "urn:oops:" + UUID: "urn prefix", UUID.replace("-", "_"): "format"}
            for etag, reason in wrong.items():
                with pytest.raises(EtagMismatch, match=reason):
                    await store.delete(DeleteItem(one.key("k"), etag))

    asyncio.run(main())


def test_an_expiry_beyond_all_dates_is_the_last_one(tmp_path: Path) -> None:
    async def main() -> dict[str, str]:
        async with opened("state.in-memory", tmp_path) as store:
            await store.set(SetItem("k", b"1", True, metadata={"ttlInSeconds": "9223372036854775807"}))
            with pytest.raises(Invalid, match="value out of range"):
                await store.set(SetItem("k", b"1", True, metadata={"ttlInSeconds": "9223372036854775808"}))
            return dict((await store.get("k")).metadata)

    assert asyncio.run(main()) == {"ttlExpireTime": "9999-12-31T23:59:59Z"}


def test_sqlite_refuses_an_empty_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with sqlite(str, tmp_path, "").open() as store:
            for call in (
                lambda: store.transact([SetItem("", b"1", True)], {}),
                lambda: store.delete(DeleteItem("")),
                lambda: store.get(""),
            ):
                with pytest.raises(Invalid, match="missing key in"):
                    await call()

    asyncio.run(main())


def test_rows_that_others_wrote_to_sqlite_are_read_as_daprd_reads_them(tmp_path: Path) -> None:
    rows = {
        "offset": ("1", 0, "2099-01-01T02:00:00.5+02:00"),
        "zulu": ("1", 0, "2099-01-01T00:00:00Z"),
        "plain": ("1", 0, "2099-01-01 00:00:00"),
        "no-time": ("1", 0, "some day"),
        "strange": ("%%%", 1, None),
        "long": ("dmFs=", 1, None),
        "bytes": ("dmFs", 1, None),
    }

    async def main() -> dict[str, object]:
        found: dict[str, object] = {}
        async with sqlite(str, tmp_path, "").open() as store:
            with contextlib.closing(sqlite3.connect(tmp_path / "s.db", timeout=10)) as tx:
                sql = "INSERT INTO state (key, value, is_binary, etag, expiration_time) VALUES (?, ?, ?, 'e', ?)"
                tx.executemany(sql, [(key, *row) for key, row in rows.items()])
                tx.commit()
            for key in rows:
                try:
                    item = await store.get(key)
                    found[key] = item.metadata.get("ttlExpireTime", item.data)
                except ComponentError as error:
                    found[key] = str(error)
            assert {item.key: item.error for item in await store.get_many(["strange", "no-time"])}.items() <= found.items()
        return found

    assert asyncio.run(main()) == {
        "offset": "2099-01-01T00:00:00Z",
        "zulu": "2099-01-01T00:00:00Z",
        "plain": "2099-01-01T00:00:00Z",
        "no-time": "the expiration_time 'some day' in the table is no time",
        "strange": "failed to decode binary data: illegal base64 data at input byte 0",
        "long": "failed to decode binary data: illegal base64 data at input byte 4",
        "bytes": b"val",
    }
