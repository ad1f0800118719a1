"""The state block on real files: whose key it is, what an encrypted store holds, what a query may ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.app import App, Part, Parts
from edge.blocks.state import StateService, Store
from edge.errors import EdgeError
from edge.model import DeleteItem, SetItem
from tests.harness_components import opened


@asynccontextmanager
async def stored(folder: Path, app: App, secrets: dict[str, str] | None = None, **properties: str) -> AsyncIterator[tuple[Store, Part]]:
    async with opened("state.sqlite", folder, {"connectionString": str(folder / "s.db")}) as component:
        part = Part("jar", "state.sqlite", "v1", component, properties, secret_names=secrets or {})
        yield StateService(Parts([part])).store(app, "jar"), part


@pytest.mark.parametrize(
    ("prefix", "app", "key"),
    [
        (None, App("shop"), "shop||k"),
        ("appid", App("shop"), "shop||k"),
        ("AppID", App("shop"), "shop||k"),
        ("name", App("shop"), "jar||k"),
        ("none", App("shop"), "k"),
        ("namespace", App("shop", "prod", True), "prod.shop||k"),
        ("namespace", App("shop"), "shop||k"),
        ("Orders", App("shop"), "orders||k"),
    ],
)
def test_each_strategy_has_its_key(prefix: str | None, app: App, key: str, tmp_path: Path) -> None:
    async def main() -> None:
        properties = {} if prefix is None else {"keyprefix": prefix}
        async with stored(tmp_path, app, **properties) as (store, part):
            await store.save([SetItem("k", b"1", True)])

            assert await part.component.get(key) is not None
            found = await store.get("k")
            assert found is not None and found.data == b"1"
            assert [item.key for item in await store.get_many(["k", "other"])] == ["k", "other"]
            await store.delete(DeleteItem("k"))
            assert await part.component.get(key) is None

    asyncio.run(main())


def test_an_encrypted_store_keeps_no_plain_text(tmp_path: Path) -> None:
    async def main() -> None:
        async with stored(tmp_path, App("shop"), {"primaryencryptionkey": "key"}, primaryencryptionkey="00" * 32) as (store, part):
            await store.save([SetItem("k", b'{"card":"4711"}', True)])
            await store.transact([SetItem("t", b"4711")])

            assert [item.data for item in await store.get_many(["k", "t"])] == [b'{"card":"4711"}', b"4711"]
            raw = await part.component.get("shop||k")
            assert b"4711" not in raw.data and raw.data.endswith(b"||key")

    asyncio.run(main())
    assert all(b"4711" not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_key_with_the_separator_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with stored(tmp_path, App("shop")) as (store, _):
            with pytest.raises(EdgeError, match="can't contain"):
                await store.save([SetItem("a||b", b"1", True)])

    asyncio.run(main())


def test_apps_do_not_see_each_others_keys(tmp_path: Path) -> None:
    async def main() -> None:
        async with stored(tmp_path, App("shop")) as (store, part):
            await store.save([SetItem("k", b"1", True)])
            assert await StateService(Parts([part])).store(App("other"), "jar").get("k") is None

    asyncio.run(main())


def test_a_value_that_cannot_be_read_has_daprs_code(tmp_path: Path) -> None:
    async def main() -> tuple[str, int]:
        async with stored(tmp_path, App("shop")) as (store, part):
            await store.save([SetItem("k", b"\x00", is_json=False)])
            await part.component.unit_database.write(lambda tx: tx.execute("UPDATE state SET value='%'") and None)
            with pytest.raises(EdgeError) as caught:
                await store.get("k")
            return caught.value.code.tag, caught.value.http

    assert asyncio.run(main()) == ("ERR_STATE_GET", 500)
