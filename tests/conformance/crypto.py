"""What every crypto provider keeps. Run by test_crypto.py over the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from edge.errors import ComponentError

FILE_KEY = bytes(range(32))
ALGORITHMS = {"small": ("A128KW",), "middle": ("A192KW",), "large": ("A256KW",), "rsa": ("RSA-OAEP-256",)}


@dataclass(frozen=True)
class Candidate:
    """A provider that has the keys `small`, `middle`, `large` (16, 24, 32 bytes) and `rsa`. public: its RSA key has no private half."""

    name: str
    open: Callable[[], AbstractAsyncContextManager[Any]]


class Suite:
    """Each scenario gets one candidate."""

    async def a_wrapped_key_unwraps(self, one: Candidate) -> None:
        async with one.open() as provider:
            for name, algorithms in ALGORITHMS.items():
                for algorithm in algorithms:
                    wrapped = await provider.wrap_key(FILE_KEY, name, algorithm)
                    assert FILE_KEY not in wrapped
                    assert await provider.unwrap_key(wrapped, name, algorithm) == FILE_KEY

    async def another_instance_unwraps_it(self, one: Candidate) -> None:
        async with one.open() as provider:
            wrapped = await provider.wrap_key(FILE_KEY, "rsa", "RSA-OAEP-256")
        async with one.open() as provider:
            assert await provider.unwrap_key(wrapped, "rsa", "RSA-OAEP-256") == FILE_KEY

    async def a_changed_key_is_refused(self, one: Candidate) -> None:
        async with one.open() as provider:
            for name, (algorithm, *_) in ALGORITHMS.items():
                wrapped = bytearray(await provider.wrap_key(FILE_KEY, name, algorithm))
                wrapped[7] ^= 1
                with pytest.raises(ComponentError):
                    await provider.unwrap_key(bytes(wrapped), name, algorithm)

    async def a_key_of_another_size_is_refused(self, one: Candidate) -> None:
        async with one.open() as provider:
            for name, algorithm in (("small", "A256KW"), ("large", "A128KW"), ("rsa", "A256KW"), ("large", "RSA-OAEP-256")):
                with pytest.raises(ComponentError, match=r"mismatch|cannot"):
                    await provider.wrap_key(FILE_KEY, name, algorithm)

    async def an_unknown_algorithm_is_refused(self, one: Candidate) -> None:
        async with one.open() as provider:
            with pytest.raises(ComponentError):
                await provider.wrap_key(FILE_KEY, "large", "ROT13")

    async def a_missing_key_is_said(self, one: Candidate) -> None:
        async with one.open() as provider:
            with pytest.raises(ComponentError, match="failed to retrieve the key encryption key"):
                await provider.wrap_key(FILE_KEY, "none", "A256KW")

    async def closing_twice_is_closing(self, one: Candidate) -> None:
        async with one.open() as provider:
            await provider.close()
            await provider.close()


SCENARIOS = [name for name in vars(Suite) if not name.startswith("_")]
