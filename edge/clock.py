"""Wall and monotonic time behind one object, so that tests can turn it and an NTP jump can be noticed (a Pi has no RTC)."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

JUMP = 30.0
SET = 1.0
LOOK_EVERY = 1.0
NOT_SYNCED = "clock-not-synced"
SAYS = "this device's clock says"
TOO_EARLY, EXPIRED = "is not yet valid", "certificate has expired"
"""OpenSSL's words for certificates whose time has not come, or is over."""


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


def blamed(text: str) -> str:
    """The error of a TLS handshake with what this device takes for the time, where that may be what is wrong.

    A certificate whose time has not come shows a clock that was not set: then the text begins with NOT_SYNCED.
    """
    if (TOO_EARLY not in text and EXPIRED not in text) or SAYS in text:
        return text
    told = f"{text}; {SAYS} {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"
    return f"{NOT_SYNCED}: {told}; it connects once that is right (timedatectl set-ntp true)" if TOO_EARLY in text else told


async def set_or_after(timeout: float) -> None:
    """Return after `timeout` seconds, or within LOOK_EVERY of the wall clock being set."""
    end, offset = time.monotonic() + timeout, time.time() - time.monotonic()
    while (left := end - time.monotonic()) > 0 and abs(time.time() - time.monotonic() - offset) < SET:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(min(LOOK_EVERY, left))
