"""When a message that an app refused is tried again: by the resiliency policy of its component, else for ever with growing pauses."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 60.0


class BreakerOpen(Exception):
    """The circuit breaker let no attempt through. after: seconds until it may."""

    def __init__(self, after: float) -> None:
        self.after = after
        super().__init__("circuit breaker is open")


class Attempts(Protocol):
    """The rules for attempts at one target."""

    def pause(self, failures: int, code: int) -> float | None:
        """Seconds until the next attempt after so many failures, the last with that status code (0 = none); None: give up."""
        ...

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """One attempt within the time limit. Raises TimeoutError, BreakerOpen."""
        ...


class Always:
    """No policy and nowhere to put it aside: again and again, ever more rarely."""

    def pause(self, failures: int, code: int) -> float | None:
        longest = min(FIRST_PAUSE * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE)
        return longest * random.uniform(0.75, 1.25)

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        return await call()


class Once(Always):
    """One attempt: a dead-letter topic is there, or the component keeps nothing (as daprd without a policy)."""

    def pause(self, failures: int, code: int) -> float | None:
        return None
