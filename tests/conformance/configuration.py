"""What every configuration store keeps. Run by test_configuration.py over the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import pytest

from edge.model import ConfigItem
from tests.harness_mqtt import until


async def nothing() -> None:
    """For a store without a server."""


@dataclass(frozen=True)
class Candidate:
    """A store under test. open: a fresh instance on the same server or file.

    put, remove: what the operator does, by key. restart: the server goes away and comes back; None = there is none.
    exact: `get` without keys gives this test's items only.
    """

    name: str
    open: Callable[[], AbstractAsyncContextManager[Any]]
    put: Callable[[str, str, str], Awaitable[None]]
    remove: Callable[[str], Awaitable[None]]
    prefix: str = ""
    away: Callable[[], Awaitable[None]] = nothing
    back: Callable[[], Awaitable[None]] | None = None
    removal_told: bool = True
    versions: bool = True

    def key(self, name: str) -> str:
        return f"{self.prefix}{name}"


@dataclass
class Sink:
    """A subscriber. items: the last of each key."""

    items: dict[str, ConfigItem] = field(default_factory=dict)
    calls: int = 0

    async def __call__(self, changed: dict[str, ConfigItem]) -> None:
        self.calls += 1
        self.items |= changed

    def has(self, key: str, value: str) -> bool:
        return key in self.items and self.items[key].value == value


class Suite:
    """Each scenario gets one candidate."""

    async def get_gives_what_was_asked_for(self, one: Candidate) -> None:
        async with one.open() as store:
            await one.put(one.key("a"), "1", "7")
            await one.put(one.key("b"), "zwölf", "1")

            found = await store.get([one.key("a"), one.key("none")], {})

            assert list(found) == [one.key("a")] and found[one.key("a")].value == "1"
            assert found[one.key("a")].version == ("7" if one.versions else "1")
            assert (await store.get([one.key("b")], {}))[one.key("b")].value == "zwölf"

    async def get_without_keys_gives_all(self, one: Candidate) -> None:
        async with one.open() as store:
            for number in range(30):
                await one.put(one.key(f"k{number}"), str(number), "1")

            found = await store.get([], {})

            assert {one.key(f"k{number}") for number in range(30)} <= set(found)

    async def a_subscriber_is_told_of_its_keys(self, one: Candidate) -> None:
        async with one.open() as store:
            await one.put(one.key("a"), "1", "1")
            mine, all_ = Sink(), Sink()
            await store.subscribe([one.key("a")], mine, {})
            await store.subscribe([], all_, {})

            await one.put(one.key("b"), "x", "1")
            await one.put(one.key("a"), "2", "2")

            await until(lambda: mine.has(one.key("a"), "2"))
            await until(lambda: all_.has(one.key("b"), "x") and all_.has(one.key("a"), "2"))
            assert list(mine.items) == [one.key("a")]
            assert mine.items[one.key("a")].version == "2"

    async def many_subscribers_hinder_nobody(self, one: Candidate) -> None:
        async with one.open() as store:
            sinks = [Sink() for _ in range(12)]
            for sink in sinks:
                await store.subscribe([one.key("a")], sink, {})

            await one.put(one.key("a"), "1", "1")

            await until(lambda: all(sink.has(one.key("a"), "1") for sink in sinks))
            assert (await store.get([one.key("a")], {}))[one.key("a")].value == "1"

    async def the_last_of_many_changes_arrives(self, one: Candidate) -> None:
        async with one.open() as store:
            sink = Sink()
            await store.subscribe([one.key("a")], sink, {})

            for number in range(40):
                await one.put(one.key("a"), str(number), str(number + 1))

            await until(lambda: sink.has(one.key("a"), "39"))

    async def a_removed_item_is_told_empty(self, one: Candidate) -> None:
        if not one.removal_told:
            pytest.skip("the server's trigger does not say so")
        async with one.open() as store:
            await one.put(one.key("a"), "1", "1")
            sink = Sink()
            await store.subscribe([one.key("a")], sink, {})

            await one.remove(one.key("a"))

            await until(lambda: sink.has(one.key("a"), ""))
            assert await store.get([one.key("a")], {}) == {}

    async def unsubscribe_ends_it(self, one: Candidate) -> None:
        async with one.open() as store:
            gone, there = Sink(), Sink()
            unsubscribe = await store.subscribe([one.key("a")], gone, {})
            await store.subscribe([one.key("a")], there, {})

            await unsubscribe()
            await one.put(one.key("a"), "1", "1")

            await until(lambda: there.has(one.key("a"), "1"))
            assert gone.calls == 0

    async def what_changed_while_the_server_was_away_is_told(self, one: Candidate) -> None:
        if one.back is None:
            pytest.skip("no server")
        async with one.open() as store:
            await one.put(one.key("a"), "1", "1")
            sink = Sink()
            await store.subscribe([one.key("a")], sink, {})

            await one.away()
            await one.back()
            await one.put(one.key("a"), "2", "2")

            await until(lambda: sink.has(one.key("a"), "2"), 30)
            await one.put(one.key("a"), "3", "3")
            await until(lambda: sink.has(one.key("a"), "3"), 30)
            deadline = asyncio.get_running_loop().time() + 20
            while store.unhealthy() and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.02)
            assert store.unhealthy() is None

    async def closing_twice_is_closing(self, one: Candidate) -> None:
        async with one.open() as store:
            await store.subscribe([], Sink(), {})
            await store.close()
            await store.close()


SCENARIOS = [name for name in vars(Suite) if not name.startswith("_")]
