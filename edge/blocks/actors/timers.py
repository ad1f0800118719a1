"""Actor timers: in memory only, gone with the process. The ticks of one actor run one after another, in the order they came due.

A timer's next tick is set only after the last one returned, one period after the time it was due; a failure is logged and the timer
goes on. Source: Dapr pkg/actors/internal/timers/inmemory @1.18.3; a durable timer is a reminder.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from edge.actor import ActorFailed, ActorTick, HostGone
from edge.app import AppUnavailable
from edge.clock import Clock
from edge.durations import IsoDuration, parse_duration, parse_go_duration, parse_time
from edge.record import record
from edge.tasks import Tasks

STARTED = time.monotonic()
log = logging.getLogger("dapr.runtime.actors.timers")
Deliver = Callable[[str, ActorTick], Awaitable[None]]
"""Namespace and tick → in the actor's turn. Raises ActorFailed, AppUnavailable, HostGone."""


@record
class TimerRequest:
    """A timer to be set; texts as the API has them, "" = not given. data: JSON text."""

    type: str
    id: str
    name: str
    due_time: str = ""
    period: str = ""
    ttl: str = ""
    callback: str = ""
    data: bytes | None = None


class Timer:
    """One set timer. due, expires: loop time. left: ticks to come, None = no limit."""

    __slots__ = ("due", "expires", "handle", "key", "left", "period", "tick")

    def __init__(self, key: tuple[str, str, str, str], tick: ActorTick, period: IsoDuration, due: float, expires: float | None) -> None:
        self.key, self.tick, self.period, self.due, self.expires = key, tick, period, due, expires
        self.left = period.repeats if period.calendar or period.seconds else 1
        self.handle: asyncio.TimerHandle | None = None

    @property
    def expired(self) -> bool:
        return self.expires is not None and self.due >= self.expires

    def advance(self, now: float) -> bool:
        """Go to the next tick; False = that was the last one. now: epoch seconds, for periods in months and days."""
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                return False
        self.due += self.period.after(now) - now
        return not self.expired


class Timers:
    """The timers of all apps of this daemon, by namespace, type, id and name."""

    def __init__(self, tasks: Tasks, clock: Clock, deliver: Deliver) -> None:
        self._tasks, self._clock, self._deliver = tasks, clock, deliver
        self._timers: dict[tuple[str, str, str, str], Timer] = {}
        self._lines: dict[tuple[str, str, str], deque[Timer]] = {}

    def set(self, namespace: str, request: TimerRequest) -> None:
        """Set a timer; one of that name is replaced. Raises ValueError with Dapr's text."""
        now, loop = self._clock.now(), asyncio.get_running_loop()
        due, period, expires = _times(request, now)
        key = (namespace, request.type, request.id, request.name)
        self.delete(*key)
        tick = ActorTick(request.type, request.id, request.name, request.data, request.due_time, request.period, request.callback)
        offset = loop.time() - now
        timer = Timer(key, tick, period, due + offset, None if expires is None else expires + offset)
        if not timer.expired:
            self._timers[key] = timer
            self._arm(timer)

    def delete(self, namespace: str, type_: str, id_: str, name: str) -> None:
        """End a timer; nothing if there is none."""
        timer = self._timers.pop((namespace, type_, id_, name), None)
        if timer is not None and timer.handle is not None:
            timer.handle.cancel()

    def count(self, namespace: str, type_: str) -> int:
        """How many timers the type has."""
        return sum(1 for key in self._timers if key[:2] == (namespace, type_))

    def close(self) -> None:
        """No more ticks."""
        for key in list(self._timers):
            self.delete(*key)

    def _arm(self, timer: Timer) -> None:
        timer.handle = asyncio.get_running_loop().call_at(timer.due, self._due, timer)

    def _due(self, timer: Timer) -> None:
        """Put the tick at the end of its actor's line."""
        actor = timer.key[:3]
        line = self._lines.get(actor)
        if line is None:
            line = self._lines[actor] = deque()
            self._tasks.start(f"timers[{actor[1]}]", self._run(actor, line))
        line.append(timer)

    async def _run(self, actor: tuple[str, str, str], line: deque[Timer]) -> None:
        try:
            while line:
                timer = line.popleft()
                if self._timers.get(timer.key) is timer:
                    await self._fire(timer)
        finally:
            del self._lines[actor]

    async def _fire(self, timer: Timer) -> None:
        try:
            await self._deliver(timer.key[0], timer.tick)
        except (ActorFailed, AppUnavailable, HostGone) as error:
            log.error("Error executing timer for actor %s||%s||%s: %s", *timer.key[1:], error)
        if self._timers.get(timer.key) is not timer:
            return
        if timer.advance(self._clock.now()):
            self._arm(timer)
        else:
            del self._timers[timer.key]


def _go_time(text: str, due: float, now: float) -> str:
    """A time as Go prints it: one reckoned from now by a Go duration shows the process's own clock too."""
    try:
        parse_go_duration(text or "0")
        own = f" m={time.monotonic() - STARTED + due - now:+.9f}"
    except ValueError:
        own = ""
    fraction = f"{due % 1:.9f}"[1:].rstrip("0").rstrip(".")
    date = datetime.fromtimestamp(int(due), UTC).replace(tzinfo=None)
    return f"{date.isoformat(' ')}{fraction} +0000 UTC{own}"


def _times(request: TimerRequest, now: float) -> tuple[float, IsoDuration, float | None]:
    """First due time, period and end, in epoch seconds. Raises ValueError with Dapr's text."""
    try:
        due = parse_time(request.due_time, now) if request.due_time else now
    except ValueError as error:
        raise ValueError(f"error parsing timer due time: {error}") from None
    try:
        period = parse_duration(request.period) if request.period else IsoDuration()
    except ValueError as error:
        raise ValueError(f"invalid timer period: parse error: {error}") from None
    if period.repeats == 0:
        raise ValueError("invalid timer period: has zero repetitions")
    if not request.ttl:
        return due, period, None
    try:
        expires = parse_time(request.ttl, due)
    except ValueError as error:
        raise ValueError(f"error parsing timer TTL: {error}") from None
    if max(now, due) > expires:
        key = f"{request.type}||{request.id}||{request.name}"
        raise ValueError(f"timer {key} has already expired: dueTime: {_go_time(request.due_time, due, now)} TTL: {request.ttl}")
    return due, period, expires
