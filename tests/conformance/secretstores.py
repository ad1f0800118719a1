"""What every secret store keeps. Run by test_secretstores.py over the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from edge.component import Feature
from edge.errors import ComponentError

TEXTS = {"word": "hush", "odd": 'ü "q" \\ \n two', "long": "x" * 10_000, "number": "42"}


@dataclass(frozen=True)
class Candidate:
    """A store under test. open: one with these secrets (name → text). missing_is_empty: one that is not there is an empty text."""

    name: str
    open: Callable[[Mapping[str, str]], AbstractAsyncContextManager[Any]]
    missing_is_empty: bool = False


class Suite:
    """Each scenario gets one candidate."""

    async def a_secret_is_found_by_its_name(self, one: Candidate) -> None:
        async with one.open(TEXTS) as store:
            for name, text in TEXTS.items():
                assert await store.get(name, {}) == {name: text}

    async def all_secrets_are_listed(self, one: Candidate) -> None:
        async with one.open(TEXTS) as store:
            found = await store.get_all({})

            assert {name: {name: text} for name, text in TEXTS.items()}.items() <= found.items()

    async def a_missing_one_is_said(self, one: Candidate) -> None:
        async with one.open(TEXTS) as store:
            if one.missing_is_empty:
                assert await store.get("none", {}) == {"none": ""}
                return
            with pytest.raises(ComponentError) as caught:
                await store.get("none", {})
            assert not any(text in str(caught.value) for text in TEXTS.values())

    async def odd_names_reach_nothing_else(self, one: Candidate) -> None:
        async with one.open(TEXTS) as store:
            for name in ("", "../word", "/etc/hostname", "a/b", "%"):
                try:
                    found = await store.get(name, {})
                except ComponentError:
                    continue
                assert set(found.values()) <= {""}

    async def features_are_claimed_truly(self, one: Candidate) -> None:
        async with one.open(TEXTS) as store:
            several = any(len(keys) > 1 for keys in (await store.get_all({})).values())
            assert not several or Feature.MULTIPLE_KEY_VALUES_PER_SECRET in store.features

    async def closing_twice_is_closing(self, one: Candidate) -> None:
        async with one.open(TEXTS) as store:
            await store.close()
            await store.close()


SCENARIOS = [name for name in vars(Suite) if not name.startswith("_")]
