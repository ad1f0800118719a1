"""How fast a backlog may be sent: a bucket that fills with `rate` messages a second, up to one second's worth."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

ANY = 1 << 30


class Pace:
    """rate 0 = as fast as it goes."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._loop = asyncio.get_running_loop()
        self._filled = max(1.0, rate)
        self._at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def room(self) -> int:
        """How many may go now."""
        if not self._rate:
            return ANY
        now = self._loop.time()
        self._filled = min(max(1.0, self._rate), self._filled + (now - self._at) * self._rate)
        self._at = now
        return int(self._filled)

    def spend(self, count: int) -> None:
        """So many go."""
        if self._rate:
            self._filled -= count

    def again(self, call: Callable[[], None]) -> None:
        """Call when there is room, if it is this that there is none."""
        if self._rate and self._filled < 1 and self._timer is None:
            self._timer = self._loop.call_later((1 - self._filled) / self._rate, self._on_time, call)

    def _on_time(self, call: Callable[[], None]) -> None:
        self._timer = None
        call()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
