"""Backpressure inside one daemon: publishers give way while deliveries to a quick app lag behind, so that latency stays bounded.

Publishing and delivering share one event loop. Without this a burst of publishers takes the loop's time from the deliveries, and what
waits for the app is written to disk only to be read again. The pause is bounded: an app that publishes while it handles a delivery goes on.
"""

from __future__ import annotations

import asyncio

LONGEST = 0.05
QUICK_APP = 0.005
SHALLOW = 8
FADES = 0.1
SMOOTHING = 0.1


class Pressure:
    """How long a publisher should wait before it is answered."""

    __slots__ = ("_loop", "_pause", "_service", "_until")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pause = self._until = 0.0
        self._service = QUICK_APP

    def note(self, depth: int, service: float) -> None:
        """A delivery took `service` seconds, and `depth` more wait behind it. A slow app slows nobody: its messages wait on disk."""
        self._service += SMOOTHING * (service - self._service)
        if depth < SHALLOW or self._service >= QUICK_APP:
            return
        self._pause = min(2 * depth * self._service, LONGEST)
        self._until = self._loop.time() + FADES

    async def ease(self) -> None:
        """Wait as long as the deliveries that lag suggest; usually not at all."""
        if self._until and self._until > self._loop.time():
            await asyncio.sleep(self._pause)
