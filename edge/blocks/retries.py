"""When a message that an app refused is tried again: by the resiliency policy of its component, else for ever with growing pauses."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from edge.app import App
from edge.resiliency import CircuitOpen, Policy

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 60.0
PROBE_PAUSE = 1.0

PolicyOf = Callable[[App, str], "Policy | None"]
"""The policy of an app's sidecar for a component by name (its inbound or its outbound one); None = it has none."""


class BreakerOpen(Exception):
    """The circuit breaker let no attempt through; none was spent."""


def no_policy(app: App, name: str) -> Policy | None:
    """Nobody configured anything."""
    return None


class Attempts:
    """The rules for attempts at one target.

    policy: its inbound policy, None = none. forever: without a retry policy a message is tried again and again, ever more rarely; else
    there is one attempt (as daprd: a dead-letter topic is there, or the component keeps nothing).
    """

    def __init__(self, policy: Policy | None, *, forever: bool) -> None:
        self._policy, self._forever = policy, forever

    def pause(self, failures: int, code: int) -> float | None:
        """Seconds until the next attempt after so many failures, the last with that status code (0 = none); None: give up."""
        retry = self._policy.retry if self._policy is not None else None
        if retry is not None:
            return retry.pause(failures) if not code or retry.again(code) else None
        if not self._forever:
            return None
        return min(FIRST_PAUSE * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE) * random.uniform(0.75, 1.25)

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """One attempt within the policy's time limit. Raises TimedOut, BreakerOpen."""
        if self._policy is None:
            return await call()
        try:
            return await self._policy.once(call)
        except CircuitOpen as error:
            raise BreakerOpen(str(error)) from None
