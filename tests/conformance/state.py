"""What every state store keeps, and what those keep that claim it. Run by test_state.py over the catalogue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from edge.component import BulkGet, BulkSet, Feature, KeysLike, Queryable, Transactional
from edge.errors import ComponentError, EtagInvalid, EtagMismatch, Invalid
from edge.model import DeleteItem, SetItem


@dataclass(frozen=True)
class Candidate:
    """A store under test. open: a fresh instance on the same server or file.

    prefix: of this test's keys. unreadable: what an etag that is no etag raises. expiry_shown: reads say when a value ends.
    delete_checks_missing: a delete with an etag of a missing key is refused. stored: whether a key's row is on the disk, None = not asked.
    """

    name: str
    open: Callable[[], AbstractAsyncContextManager[Any]]
    prefix: str = ""
    unreadable: type[ComponentError] = EtagMismatch
    wrong_etag: str = "4242"
    expiry_shown: bool = True
    delete_checks_missing: bool = True
    lasting: bool = True
    stored: Callable[[str], bool] | None = None

    def key(self, name: str = "k") -> str:
        return f"app||{self.prefix}{name}"

    def item(self, name: str, value: object, **more: Any) -> SetItem:
        """An upsert as the HTTP face makes it; `metadata` and the like as they are."""
        return SetItem(self.key(name), json.dumps(value).encode(), True, **more)


def needs(store: Any, feature: Feature) -> None:
    if feature not in store.features:
        pytest.skip(f"no {feature.value}")


class Suite:
    """Each scenario gets one candidate."""

    async def a_value_reads_back_as_it_was_given(self, one: Candidate) -> None:
        values: list[tuple[bytes, bool]] = [(b'{"a":[1,"\xc3\xbc",null]}', True), (b'""', True), (b"null", True), (b"0", True)]
        values += [(b"\x00\xff\xfe", False), (b'{"a":1}', False), ("süd".encode(), False), (b"x" * 1_000_000, False)]
        async with one.open() as store:
            for number, (value, is_json) in enumerate(values):
                await store.set(SetItem(one.key(str(number)), value, is_json))
            found = [(await store.get(one.key(str(number)))).data for number in range(len(values))]

        assert [json.loads(data) for data in found[:4]] == [json.loads(value) for value, _ in values[:4]]
        assert found[4:] == [value for value, _ in values[4:]]

    async def odd_keys_are_keys(self, one: Candidate) -> None:
        keys = ["a b", "ü/%2F?*", "'; DROP TABLE state; --", 'q"uote', "x" * 500, "\\", "%", "_", "{slot}"]
        async with one.open() as store:
            for key in keys:
                await store.set(one.item(key, key))
            found = [json.loads((await store.get(one.key(key))).data) for key in keys]

        assert found == keys

    async def a_missing_key_is_none(self, one: Candidate) -> None:
        async with one.open() as store:
            assert await store.get(one.key()) is None
            await store.delete(DeleteItem(one.key()))

            await store.set(one.item("k", 1))
            await store.delete(DeleteItem(one.key()))
            assert await store.get(one.key()) is None

    async def it_lasts(self, one: Candidate) -> None:
        if not one.lasting:
            pytest.skip("in memory only")
        async with one.open() as store:
            await store.set(one.item("k", "kept"))
            etag = (await store.get(one.key())).etag
        async with one.open() as store:
            item = await store.get(one.key())

        assert (item.data, item.etag) == (b'"kept"', etag)

    # --- etags
    async def each_write_makes_a_new_etag(self, one: Candidate) -> None:
        async with one.open() as store:
            needs(store, Feature.ETAG)
            etags = []
            for number in range(3):
                await store.set(one.item("k", number))
                etags.append((await store.get(one.key())).etag)

        assert len(set(etags)) == 3 and all(etags)

    async def a_write_with_the_etag_passes_and_with_an_old_one_not(self, one: Candidate) -> None:
        async with one.open() as store:
            needs(store, Feature.ETAG)
            await store.set(one.item("k", 1))
            first = (await store.get(one.key())).etag
            await store.set(one.item("k", 2, etag=first))

            with pytest.raises(EtagMismatch):
                await store.set(one.item("k", 3, etag=first))
            with pytest.raises(EtagMismatch):
                await store.delete(DeleteItem(one.key(), first))
            assert (await store.get(one.key())).data == b"2"
            await store.delete(DeleteItem(one.key(), (await store.get(one.key())).etag))
            assert await store.get(one.key()) is None

    async def an_etag_of_the_wrong_form_is_refused(self, one: Candidate) -> None:
        async with one.open() as store:
            needs(store, Feature.ETAG)
            await store.set(one.item("k", 1))

            with pytest.raises(one.unreadable):
                await store.set(one.item("k", 2, etag="no-etag"))
            assert (await store.get(one.key())).data == b"1"

    async def a_write_with_an_etag_never_makes_a_key_where_the_store_checks(self, one: Candidate) -> None:
        async with one.open() as store:
            needs(store, Feature.ETAG)
            if not one.delete_checks_missing:
                pytest.skip("a missing key passes every etag there, as with daprd")
            with pytest.raises(EtagMismatch):
                await store.set(one.item("k", 1, etag=one.wrong_etag))
            with pytest.raises(EtagMismatch):
                await store.delete(DeleteItem(one.key(), one.wrong_etag))
            assert await store.get(one.key()) is None

    async def first_write_wins_once(self, one: Candidate) -> None:
        async with one.open() as store:
            needs(store, Feature.ETAG)
            await store.set(one.item("k", 1, concurrency="first-write"))

            with pytest.raises(ComponentError):
                await store.set(one.item("k", 2, concurrency="first-write"))
            etag = (await store.get(one.key())).etag
            await store.set(one.item("k", 3, concurrency="first-write", etag=etag))
            assert (await store.get(one.key())).data == b"3"

    async def one_of_many_racing_first_writes_wins(self, one: Candidate) -> None:
        async with one.open() as store:
            needs(store, Feature.ETAG)
            results = await asyncio.gather(
                *(store.set(one.item("k", number, concurrency="first-write")) for number in range(20)), return_exceptions=True
            )

        assert [isinstance(result, ComponentError) for result in results].count(False) == 1

    # --- expiry
    async def a_value_expires_and_a_write_without_ttl_keeps_it(self, one: Candidate) -> None:
        async with one.open() as store:
            needs(store, Feature.TTL)
            for name in ("short", "kept", "forever"):
                await store.set(one.item(name, 1, metadata={"ttlInSeconds": "1"}))
            await store.set(one.item("kept", 2, metadata={"ttlInSeconds": "-1"}))
            await store.set(one.item("forever", 2, metadata={"ttlInSeconds": "0"}))
            shown = (await store.get(one.key("short"))).metadata

            deadline = asyncio.get_running_loop().time() + 10
            while await store.get(one.key("short")) is not None and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.02)

            assert await store.get(one.key("short")) is None
            assert (await store.get(one.key("kept"))).data == (await store.get(one.key("forever"))).data == b"2"
            assert ("ttlExpireTime" in shown) is one.expiry_shown
            await store.set(one.item("short", 3, concurrency="first-write"))
            assert (await store.get(one.key("short"))).data == b"3"

    async def expired_values_leave_the_disk(self, one: Candidate) -> None:
        if one.stored is None:
            pytest.skip("the server removes them by itself")
        async with one.open() as store:
            needs(store, Feature.TTL)
            await store.set(one.item("gone", 1, metadata={"ttlInSeconds": "1"}))
            await store.set(one.item("there", 1))

            deadline = asyncio.get_running_loop().time() + 20
            while await asyncio.to_thread(one.stored, one.key("gone")) and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.05)

            assert not await asyncio.to_thread(one.stored, one.key("gone"))
            assert await asyncio.to_thread(one.stored, one.key("there"))

    async def a_ttl_that_is_no_number_is_refused(self, one: Candidate) -> None:
        async with one.open() as store:
            needs(store, Feature.TTL)
            with pytest.raises(Invalid, match="invalid syntax"):
                await store.set(one.item("k", 1, metadata={"ttlInSeconds": "soon"}))
            assert await store.get(one.key()) is None

    # --- many keys
    async def bulk_get_answers_each_key_once(self, one: Candidate) -> None:
        async with one.open() as store:
            if not isinstance(store, BulkGet):
                pytest.skip("one by one")
            names = [f"b{number}" for number in range(1200)]
            await asyncio.gather(*(store.set(one.item(name, name)) for name in names[::2]))

            found = await store.get_many([one.key(name) for name in names])

            assert sorted(item.key for item in found) == sorted(one.key(name) for name in names)
            values = {item.key: item.data for item in found}
            assert all(values[one.key(name)] == json.dumps(name).encode() for name in names[::2])
            assert all(values[one.key(name)] is None for name in names[1::2])
            assert all(item.key for item in await store.get_many([one.key("b0")] * 2))

    async def bulk_set_fails_each_item_alone(self, one: Candidate) -> None:
        async with one.open() as store:
            if not isinstance(store, BulkSet):
                pytest.skip("one by one")
            await store.set(one.item("a", 1))
            items = [one.item("a", 2, etag=one.wrong_etag), one.item("b", 2), one.item("c", 3, metadata={"ttlInSeconds": "x"})]

            results = await store.set_many(items)

            assert [type(result) for result in results] == [EtagMismatch, type(None), Invalid]
            assert [(await store.get(one.key(name)) or items[0]) for name in "ab"] and (await store.get(one.key("b"))).data == b"2"
            assert (await store.get(one.key("a"))).data == b"1" and await store.get(one.key("c")) is None

    # --- transactions
    async def a_transaction_is_all_in_order(self, one: Candidate) -> None:
        async with one.open() as store:
            needs(store, Feature.TRANSACTIONAL)
            assert isinstance(store, Transactional)
            await store.set(one.item("gone", 1))
            operations = [one.item("a", 1), one.item("b", {"x": 2}), one.item("a", 3), DeleteItem(one.key("gone"))]

            await store.transact(operations, {})

            assert [(await store.get(one.key(name))).data.replace(b" ", b"") for name in "ab"] == [b"3", b'{"x":2}']
            assert await store.get(one.key("gone")) is None
            await store.transact([], {})

    async def a_transaction_is_nothing_when_one_part_fails(self, one: Candidate) -> None:
        async with one.open() as store:
            needs(store, Feature.TRANSACTIONAL)
            await store.set(one.item("b", 1))
            for wrong in (one.item("b", 2, etag=one.wrong_etag), DeleteItem(one.key("b"), one.wrong_etag)):
                with pytest.raises(ComponentError):
                    await store.transact([one.item("a", 1), wrong, one.item("c", 1)], {})

            assert [await store.get(one.key(name)) for name in "ac"] == [None, None]
            assert (await store.get(one.key("b"))).data == b"1"

    # --- finding keys and values
    async def keys_like_pages_through_what_matches(self, one: Candidate) -> None:
        async with one.open() as store:
            needs(store, Feature.KEYS_LIKE)
            assert isinstance(store, KeysLike)
            names = [f"page_{number}" for number in range(7)] + ["pageX1", "other"]
            for name in names:
                await store.set(one.item(name, 1))
            pattern = one.key("page\\_%").replace("||", "||", 1)

            pages, token = [], ""
            while True:
                keys, token = await store.keys_like(pattern, 3, token)
                pages.append(keys)
                if not token:
                    break

            assert [len(page) for page in pages] == [3, 3, 1]
            assert sorted(key for page in pages for key in page) == [one.key(name) for name in names[:7]]

    async def a_query_filters_sorts_and_pages(self, one: Candidate) -> None:
        people = [("ann", 19, "NY"), ("bob", 20, "LA"), ("cid", 90, "NY"), ("dot", 30, "SF")]
        async with one.open() as store:
            if not isinstance(store, Queryable) or Feature.QUERY_API not in store.features:
                pytest.skip("no QUERY_API")
            for name, age, town in people:
                await store.set(one.item(name, {"person": {"name": name, "age": age}, "town": town, "run": one.prefix}))

            async def ask(filter_: dict[str, Any], **more: Any) -> list[str]:
                both = {"AND": [{"EQ": {"run": one.prefix}}, filter_]}
                found = await store.query({"filter": both, "sort": [{"key": "person.age"}], **more}, {})
                return [json.loads(item.data)["person"]["name"] for item in found.items]

            assert await ask({"EQ": {"town": "NY"}}) == ["ann", "cid"]
            assert await ask({"NEQ": {"town": "NY"}}) == ["bob", "dot"]
            assert await ask({"GT": {"person.age": 20}}) == ["dot", "cid"]
            assert await ask({"GTE": {"person.age": 20}}) == ["bob", "dot", "cid"]
            assert await ask({"LT": {"person.age": 30}}) == ["ann", "bob"]
            assert await ask({"LTE": {"person.age": 30}}) == ["ann", "bob", "dot"]
            assert await ask({"IN": {"town": ["LA", "SF"]}}) == ["bob", "dot"]
            assert await ask({"OR": [{"EQ": {"person.name": "ann"}}, {"EQ": {"person.age": 30}}]}) == ["ann", "dot"]
            assert await ask({"EQ": {"nothing.here": 1}}) == []
            assert await ask({"EQ": {"person.age": 30}}) == ["dot"]
            injected = await ask({"EQ": {"town') OR 1=1; --": "x"}})
            assert injected == []
            pages, token = [], ""
            while True:
                page = {"limit": 3, "token": token} if token else {"limit": 3}
                query = {"filter": {"EQ": {"run": one.prefix}}, "sort": [{"key": "person.age", "order": "DESC"}], "page": page}
                found = await store.query(query, {})
                if not found.items:
                    break
                pages.append([json.loads(item.data)["person"]["age"] for item in found.items])
                token = found.token
            assert pages == [[90, 30, 20], [19]]
            with pytest.raises(Invalid):
                await ask({"GT": {"town": "LA"}})

    async def closing_twice_is_closing(self, one: Candidate) -> None:
        async with one.open() as store:
            await store.close()
            await store.close()


SCENARIOS = [name for name in vars(Suite) if not name.startswith("_")]
ETAG_INVALID = EtagInvalid
