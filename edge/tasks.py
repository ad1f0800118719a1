"""Named, supervised background tasks: a crash is logged and the loop restarted with back-off; siblings go on; all end on exit."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

from edge.errors import ComponentError

log = logging.getLogger("edged.tasks")
FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0
OUTAGE_DELAY = 4.0  # at most, where the disk or a broker failed: work goes on soon after they are back
CALLERS_FIRST = 0.03
"""Seconds from "the APIs listen" until work begins that nobody waits for: whoever polls for the start gets the answer before."""
_start: ContextVar[asyncio.Event | None] = ContextVar("start", default=None)


def starting() -> Callable[[], None]:
    """From here on `after_start` waits in this task and those that it starts. Call what is returned once the APIs listen."""
    up, loop = asyncio.Event(), asyncio.get_running_loop()
    _start.set(up)

    def up_now() -> None:
        loop.call_later(CALLERS_FIRST, up.set)

    return up_now


async def after_start() -> None:
    """Wait until a daemon that starts here answers; elsewhere and later it returns at once. For work that nobody waits for."""
    if (up := _start.get()) is not None:
        await up.wait()


class Tasks:
    """A nursery for a daemon's loops (not for bounded fan-out: that is asyncio.TaskGroup)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Nothing can be started any more."""
        return self._closed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closed = True
        while self._running:
            for task in tuple(self._running):
                task.cancel()
            await asyncio.wait(tuple(self._running))

    def spawn(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `work` until it returns; if it raises, log that and run it again after a jittered, growing delay."""
        return self._track(self._supervise(name, work), name)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run one coroutine once; a failure is logged, not repeated."""
        task = self._track(self._once(name, work), name)
        task.add_done_callback(lambda _: work.close())  # cancelled before its first step, `work` would count as never awaited
        return task

    def _track(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        if self._closed:
            work.close()
            raise RuntimeError(f"tasks {self.name} are closed, cannot start {name}")
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _once(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("task %s failed", name)

    async def _supervise(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        loop, delay = asyncio.get_running_loop(), FIRST_DELAY
        while True:
            began = loop.time()
            try:
                await work()
                return
            except ComponentError as error:  # a full disk, a broker that is away: told as it is
                log.warning("%s: %s; it is tried again", name, error)
                delay = min(delay, OUTAGE_DELAY)
            except Exception:
                log.exception("task %s failed, it starts again", name)
            if loop.time() - began > LONGEST_DELAY:
                delay = FIRST_DELAY
            await asyncio.sleep(delay * random.uniform(0.75, 1.25))
            delay = min(delay * 2, LONGEST_DELAY)
