"""What every lock store keeps. Run by test_lock.py over the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from edge.model import UnlockStatus


@dataclass(frozen=True)
class Candidate:
    """A store under test. open: a fresh instance on the same server or file. prefix: of this test's resources."""

    name: str
    open: Callable[[], AbstractAsyncContextManager[Any]]
    prefix: str = ""

    def resource(self, name: str = "r") -> str:
        return f"lock||app||{self.prefix}{name}"


class Suite:
    """Each scenario gets one candidate."""

    async def a_lock_has_one_owner(self, one: Candidate) -> None:
        async with one.open() as store:
            assert await store.try_lock(one.resource(), "ann", 60)
            assert not await store.try_lock(one.resource(), "bob", 60)
            assert not await store.try_lock(one.resource(), "ann", 60)
            assert await store.try_lock(one.resource("other"), "bob", 60)

    async def unlock_says_whose_it_was(self, one: Candidate) -> None:
        async with one.open() as store:
            assert await store.unlock(one.resource(), "ann") == UnlockStatus.DOES_NOT_EXIST
            await store.try_lock(one.resource(), "ann", 60)
            assert await store.unlock(one.resource(), "bob") == UnlockStatus.BELONGS_TO_OTHERS
            assert await store.unlock(one.resource(), "ann") == UnlockStatus.SUCCESS
            assert await store.try_lock(one.resource(), "bob", 60)

    async def it_ends_with_its_expiry(self, one: Candidate) -> None:
        async with one.open() as store:
            assert await store.try_lock(one.resource(), "ann", 0.2)
            assert not await store.try_lock(one.resource(), "bob", 60)
            deadline = asyncio.get_running_loop().time() + 10
            while not (taken := await store.try_lock(one.resource(), "bob", 60)) and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.02)

            assert taken
            assert await store.unlock(one.resource(), "ann") == UnlockStatus.BELONGS_TO_OTHERS

    async def one_of_many_gets_it(self, one: Candidate) -> None:
        async with one.open() as store, one.open() as other:
            stores = [store, other] * 10
            got = await asyncio.gather(*(each.try_lock(one.resource(), f"o{number}", 60) for number, each in enumerate(stores)))

        assert got.count(True) == 1

    async def it_outlives_a_restart(self, one: Candidate) -> None:
        async with one.open() as store:
            await store.try_lock(one.resource(), "ann", 60)
        async with one.open() as store:
            assert not await store.try_lock(one.resource(), "bob", 60)
            assert await store.unlock(one.resource(), "ann") == UnlockStatus.SUCCESS

    async def odd_names_are_names(self, one: Candidate) -> None:
        async with one.open() as store:
            for name in ("a b", "ü/%'; --", "x" * 500):
                assert await store.try_lock(one.resource(name), "öwner 'x'", 60)
                assert await store.unlock(one.resource(name), "öwner 'x'") == UnlockStatus.SUCCESS

    async def closing_twice_is_closing(self, one: Candidate) -> None:
        async with one.open() as store:
            await store.close()
            await store.close()


SCENARIOS = [name for name in vars(Suite) if not name.startswith("_")]
