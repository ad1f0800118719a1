"""Wall and monotonic time behind one object, so that tests can turn it and an NTP jump can be noticed (a Pi has no RTC)."""

from __future__ import annotations

import time
from typing import Protocol

JUMP = 30.0


class Clock(Protocol):
    """Source of time. now: epoch seconds. monotonic: seconds since some start, never set back."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's clock; remembers the offset between wall and monotonic time to notice a jump."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def jumped(self) -> float:
        """Seconds that the wall clock moved against monotonic time since the last call; 0.0 below `JUMP`."""
        offset = time.time() - time.monotonic()
        moved = offset - self._offset
        if abs(moved) < JUMP:
            return 0.0
        self._offset = offset
        return moved
