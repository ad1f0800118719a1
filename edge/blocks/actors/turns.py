"""The turns of one actor: one stack of calls at a time, in order of arrival; a call that belongs to the running stack enters at once.

Source: Dapr pkg/actors/targets/app/lock @1.18.3; differs: a refused entry and a caller that gave up while waiting give their place back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from edge.actor import ActorFailed, HostGone

T = TypeVar("T")


class StackTooDeep(Exception):
    """The stack of calls has entered this actor as often as its type allows."""


class Flight:
    """One stack of calls on this actor. id: its reentrancy id, "" = cannot be entered again. depth: entries that did not leave yet."""

    __slots__ = ("depth", "id", "tasks", "waiters")

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.depth = 1
        self.tasks: list[asyncio.Task[Any]] = []
        self.waiters: list[asyncio.Future[None]] = []


class Turns:
    """Whose turn it is. Idle it holds three empty fields: there are tens of thousands of these."""

    __slots__ = ("_current", "_left", "_queue", "closed")

    def __init__(self) -> None:
        self.closed = False
        self._current: Flight | None = None
        self._queue: deque[Flight] | None = None
        self._left: asyncio.Future[None] | None = None

    @property
    def busy(self) -> bool:
        return self._current is not None

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return sum(flight.depth for flight in self._queue or ())

    async def run(self, stack: str, max_depth: int, begun: Callable[[], None], work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` in this caller's turn; `begun` is called when the turn comes.

        Raises HostGone when the actor closed before the turn came, ActorFailed when it closed during it, StackTooDeep.
        """
        flight = self._enter(stack, max_depth)
        try:
            if flight is not self._current:
                await self._wait(flight)
            begun()
            return await self._cuttable(flight, work)
        finally:
            self._leave(flight)

    async def close(self, patience: float) -> None:
        """Refuse those who wait, give the running turn `patience` seconds, then cut it. On return nothing runs."""
        self.closed = True
        for flight in self._queue or ():
            for waiter in flight.waiters:
                if not waiter.done():
                    waiter.set_exception(HostGone())
        if self._current is None:
            return
        self._left = asyncio.get_running_loop().create_future()
        await asyncio.wait((self._left,), timeout=patience)
        if self._current is not None:
            for task in self._current.tasks:
                task.cancel()
            await self._left

    def _enter(self, stack: str, max_depth: int) -> Flight:
        if self.closed:
            raise HostGone
        if stack and (flight := self._find(stack)) is not None:
            if flight.depth >= max_depth:
                raise StackTooDeep
            flight.depth += 1
            return flight
        flight = Flight(stack)
        if self._current is None:
            self._current = flight
        else:
            if self._queue is None:
                self._queue = deque()
            self._queue.append(flight)
        return flight

    def _find(self, stack: str) -> Flight | None:
        if self._current is not None and self._current.id == stack:
            return self._current
        return next((flight for flight in self._queue or () if flight.id == stack), None)

    async def _wait(self, flight: Flight) -> None:
        waiter = asyncio.get_running_loop().create_future()
        flight.waiters.append(waiter)
        await waiter

    async def _cuttable(self, flight: Flight, work: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        flight.tasks.append(task)
        try:
            return await work()
        except asyncio.CancelledError:
            if self.closed and task.uncancel() <= cancelling:  # it was close() that cancelled, and nobody else
                raise ActorFailed("context canceled") from None
            raise
        finally:
            flight.tasks.remove(task)

    def _leave(self, flight: Flight) -> None:
        flight.depth -= 1
        if flight.depth:
            return
        if flight is not self._current:
            if self._queue is not None and flight in self._queue:
                self._queue.remove(flight)
            return
        self._current = self._queue.popleft() if self._queue and not self.closed else None
        if self._current is None:
            self._queue = None
            if self._left is not None and not self._left.done():
                self._left.set_result(None)
            return
        for waiter in self._current.waiters:
            if not waiter.done():
                waiter.set_result(None)
