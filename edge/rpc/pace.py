"""A token bucket over the frames that cost us more than the peer (resets, pings, settings, empty frames)."""

from __future__ import annotations

import time

from edge.rpc.frames import H2, ConnectionFault


class Bucket:
    """`burst` frames at once, `rate` a second on average."""

    __slots__ = ("_burst", "_left", "_rate", "_seen")

    def __init__(self, burst: int, rate: int) -> None:
        self._burst = self._left = float(burst)
        self._rate = rate
        self._seen = time.monotonic()

    def take(self, what: str) -> None:
        """Count one. Raises ConnectionFault ENHANCE_YOUR_CALM when the bucket is empty."""
        self._left -= 1
        if self._left < 0:
            now = time.monotonic()
            self._left = min(self._burst, (now - self._seen) * self._rate - 1)
            self._seen = now
            if self._left < 0:
                raise ConnectionFault(H2.ENHANCE_YOUR_CALM, f"too many {what}")
