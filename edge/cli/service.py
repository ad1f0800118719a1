"""What systemd is told: ready, stopping, reloading, and that loop and store still work (sd_notify(3), WatchdogSec=)."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from edge import lean, systemd
from edge.errors import ComponentError

if TYPE_CHECKING:
    from edge.renewal import Renewable

log = logging.getLogger("dapr.runtime")
TIDY_AFTER = 0.3
"""A collection takes 20 ms: those who wait for the API to answer come first."""


@asynccontextmanager
async def told(daemons: Callable[[], Iterable[Renewable]], what: str) -> AsyncIterator[None]:
    """READY now, the watchdog fed as long as the daemons work, STOPPING at the end. what: systemd's status line."""
    tidying = asyncio.get_running_loop().call_later(TIDY_AFTER, _tidy)
    systemd.notify(f"READY=1\nSTATUS={what}")
    interval = systemd.watchdog_interval()
    feeding = asyncio.create_task(_feed(daemons, interval), name="watchdog") if interval else None
    try:
        yield
    finally:
        tidying.cancel()
        systemd.notify("STOPPING=1")
        if feeding is not None:
            feeding.cancel()
            with suppress(asyncio.CancelledError):
                await feeding


def _tidy() -> None:
    lean.settle()
    gc.collect()
    gc.freeze()  # what the start made stays for good: no collection looks at it again
    gc.set_threshold(700, 10, 10)


async def _feed(daemons: Callable[[], Iterable[Renewable]], interval: float) -> None:
    """A loop that stands still feeds nothing; a store that does not commit within the interval is not vouched for."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval
        try:
            async with asyncio.timeout(interval):
                for daemon in tuple(daemons()):
                    await daemon.probe()
            systemd.notify("WATCHDOG=1")
        except (TimeoutError, ComponentError) as error:
            log.error("the watchdog is not fed: the daemon's file does not commit: %s", error or f"no answer in {interval:g} s")
        await asyncio.sleep(due - loop.time())  # a slow card leaves the next one its time
