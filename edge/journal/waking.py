"""Who is told that a lane has something to take: waiters of `take`, and watchers of all lanes under a prefix."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from edge.journal.lane import Lane


class Waking:
    """Watchers are called on the loop, a turn later, so that who changes a lane is done with it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watchers: dict[int, tuple[str, Callable[[str], None]]] = {}
        self._next = 0

    def watch(self, prefix: str, ready: Callable[[str], None], lanes: Iterable[Lane]) -> Callable[[], None]:
        """lanes: those that exist; what holds something is told at once. Returns the function that ends it."""
        key = self._next = self._next + 1
        self._watchers[key] = (prefix, ready)
        for lane in lanes:
            if lane.name.startswith(prefix) and lane.holds():
                self._loop.call_soon(self._tell, key, lane.name)
        return lambda: self._watchers.pop(key, None) and None

    def _tell(self, key: int, lane: str) -> None:
        if key in self._watchers:
            self._watchers[key][1](lane)

    def wake(self, lane: Lane) -> None:
        """It has entries to take."""
        waiters, lane.waiters = lane.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        for key, (prefix, _) in tuple(self._watchers.items()):
            if lane.name.startswith(prefix):
                self._loop.call_soon(self._tell, key, lane.name)
