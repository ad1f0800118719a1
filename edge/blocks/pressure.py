"""Backpressure inside one daemon: publishers go at the pace of deliveries that lag, so that latency stays bounded.

Publishing and delivering share one event loop. Without this a burst of publishers takes the loop's time from the deliveries, and what
waits for the app is written to disk only to be read again. Once a subscription is `SHALLOW` messages behind, each delivery that ends
lets about one publisher go on. So an app that publishes while it handles a delivery goes on as well; one that publishes more than it is
given cannot be waited for (its deliveries wait for its publishes), which shows in that none ends.
"""

from __future__ import annotations

import asyncio
from collections import deque

SHALLOW = 4
"""Messages behind: with fewer publishers gain on the deliveries, with more these catch up."""
LEAST = 0.25
"""Publishers per delivery: those that publish elsewhere during a long backlog go on too."""
QUICK_APP = 0.005
SMOOTHING = 0.1
LONGEST = 0.25
STALL = 0.02
RESPITE = 1.0


class Pressure:
    """When a publisher is answered."""

    __slots__ = ("_credit", "_depth", "_ended", "_free_until", "_looked_at", "_loop", "_service", "_timer", "_waiting")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._service = 0.0
        self._depth = 0
        self._credit: float = SHALLOW
        self._ended = self._looked_at = 0
        self._free_until = 0.0
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    # --- what deliveries say
    def arrived(self, depth: int) -> None:
        """`depth` messages of a subscription wait for the app or are with it."""
        self._depth = depth

    def ended(self, depth: int, service: float) -> None:
        """One of `depth` messages ended after `service` seconds. A slow app slows nobody: its messages wait on disk."""
        self._service += SMOOTHING * (service - self._service)
        self._depth = depth
        self._ended += 1
        self._credit = min(self._credit + min(max(SHALLOW / depth, LEAST), 2), SHALLOW)
        if self._waiting:
            self._release(int(self._credit) if self._service < QUICK_APP else len(self._waiting))

    # --- what publishers ask
    async def ease(self) -> None:
        """Return when the deliveries that lag suggest; usually at once, after `LONGEST` at the latest."""
        if not self._waiting:
            if self._depth < SHALLOW or self._service >= QUICK_APP or self._loop.time() < self._free_until:
                return
            if self._credit >= 1:
                self._credit -= 1
                return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((self._loop.time(), waiter))
        if self._timer is None:
            self._looked_at = self._ended
            self._timer = self._loop.call_later(STALL, self._on_look)
        await waiter

    def _release(self, most: int) -> None:
        waiting = self._waiting
        while waiting and most > 0:
            waiter = waiting.popleft()[1]
            if not waiter.done():
                waiter.set_result(None)
                self._credit, most = max(self._credit - 1, 0), most - 1

    def _on_look(self) -> None:
        """Called while publishers wait: no delivery ended for a while, or some wait for long."""
        self._timer, now = None, self._loop.time()
        if self._ended == self._looked_at:
            if self._depth >= SHALLOW:
                self._free_until = now + RESPITE
            self._release(len(self._waiting))
            return
        self._looked_at = self._ended
        self._release(sum(now - since > LONGEST for since, _ in self._waiting))
        if self._waiting:
            self._timer = self._loop.call_later(STALL, self._on_look)
