"""Durable series of firings: a plan and a payload per key, carried out through the scheduler, whatever happens in between.

An app that cannot be reached uses up no attempt: its ticks wait until it is back, then fire once. Source of the rules: blocks/schedule.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import Enum
from typing import Any, Protocol

import orjson

from edge.blocks.schedule import LATE, Plan, Progress, Step, dump_plan, load_plan
from edge.firing import Again, Entry
from edge.record import record
from edge.scheduler import Detach, Rewound, Scheduler

log = logging.getLogger("dapr.scheduler")
RETRY_AWAY = 1.0
NEVER = 253402300799.0  # the last second of the year 9999


class Outcome(Enum):
    """What became of a firing. AWAY: nobody was there to take it."""

    DONE = "done"
    FAILED = "failed"
    AWAY = "away"


@record
class Item:
    """One series. payload: JSON values of the caller; they come back as they went in."""

    key: str
    plan: Plan
    payload: dict[str, Any]


Deliver = Callable[[Item], Awaitable[Outcome]]


class Keeper(Protocol):
    """Where series are kept and who fires them: `Series`, or a scheduler service (edge/mesh/scheduler.py)."""

    async def put(self, kind: str, item: Item, *, overwrite: bool) -> bool: ...
    async def get(self, kind: str, key: str) -> Item | None: ...
    async def list(self, kind: str, prefix: str = "") -> list[Item]: ...
    async def delete(self, kind: str, key: str) -> None: ...
    async def delete_prefix(self, kind: str, prefix: str) -> None: ...
    def attach(self, kind: str, deliver: Deliver) -> Detach: ...


class Series:
    """The series of all apps, kind by kind, in the daemon's own file."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def put(self, kind: str, item: Item, *, overwrite: bool) -> bool:
        """Store it; on return it is on disk. False: it exists and is not to be overwritten. One that ends before it fires is not kept."""
        step = item.plan.first()
        if step is None and item.plan.schedule and item.plan.expires is None:
            step = Step(NEVER, Progress())  # a cron text that matches no day: it is there, as with daprd
        data = _data(item)
        if step is None:
            if not overwrite and self._scheduler.get(kind, item.key) is not None:
                return False
            await self._scheduler.delete(kind, item.key)
            return True
        return await self._scheduler.put(kind, item.key, step.due, data, since=item.plan.since(step.progress), overwrite=overwrite)

    async def get(self, kind: str, key: str) -> Item | None:
        """The series of that key, as long as it has a firing before it."""
        entry = self._scheduler.get(kind, key)
        return None if entry is None else _item(entry)

    async def list(self, kind: str, prefix: str = "") -> list[Item]:
        """All whose key starts with `prefix`, by key."""
        return [_item(entry) for entry in await self._scheduler.list(kind, prefix)]

    async def delete(self, kind: str, key: str) -> None:
        """End one series; nothing if there is none."""
        await self._scheduler.delete(kind, key)

    async def delete_prefix(self, kind: str, prefix: str) -> None:
        """End all whose key starts with `prefix`."""
        await self._scheduler.delete_prefix(kind, prefix)

    def attach(self, kind: str, deliver: Deliver) -> Detach:
        """Carry out the series of that kind from now on; what came due before fires once. Returns how to stop."""
        return self._scheduler.attach(kind, Carrier(self._scheduler, deliver).fire, rewind=_rewound)


class Carrier:
    """Carries out one kind. away_until: the last time at which nobody was there."""

    def __init__(self, scheduler: Scheduler, deliver: Deliver) -> None:
        self._scheduler, self._deliver = scheduler, deliver
        self._away_until = scheduler.clock.now()
        self._back: asyncio.Event | None = None

    async def fire(self, entry: Entry) -> Again | None:
        """One firing: deliver, then say when the next is due."""
        item, progress = _item(entry), _progress(entry.state)
        outcome: Outcome | None = Outcome.AWAY if self._back is not None else await self._deliver(item)
        if outcome is Outcome.AWAY:
            outcome = await self._when_back(entry, item)
        if outcome is None:
            return None
        now = self._scheduler.clock.now()
        self._away_until = min(self._away_until, now)  # else a clock that was set back would count all up to then as missed
        served = max(self._away_until, now - LATE)
        step = item.plan.succeeded(progress, served) if outcome is Outcome.DONE else item.plan.failed(progress, entry.due, served)
        if outcome is Outcome.FAILED and (step is None or not step.progress.attempts):
            log.warning("A firing of %s %s failed for good after %d tries", entry.kind, entry.key, progress.attempts + 1)
        return None if step is None else Again(step.due, _state(step), item.plan.since(step.progress))

    async def _when_back(self, entry: Entry, item: Item) -> Outcome | None:
        """Try until somebody is there: one firing knocks each second, the others wait for it. None: the entry was withdrawn."""
        while self._scheduler.holds(entry):
            if self._back is None:
                return await self._knock(entry, item)
            await self._back.wait()
            outcome = await self._deliver(item) if self._scheduler.holds(entry) else None
            if outcome is not Outcome.AWAY:
                return outcome
        return None

    async def _knock(self, entry: Entry, item: Item) -> Outcome | None:
        self._back = asyncio.Event()
        try:
            while self._scheduler.holds(entry):
                self._away_until = self._scheduler.clock.now()
                await asyncio.sleep(RETRY_AWAY)
                outcome = await self._deliver(item)
                if outcome is not Outcome.AWAY:
                    return outcome
            return None
        finally:
            self._away_until = self._scheduler.clock.now()
            self._back.set()
            self._back = None


def _item(entry: Entry) -> Item:
    fields = orjson.loads(entry.data)
    return Item(entry.key, load_plan(fields["plan"]), fields["payload"])


def _data(item: Item) -> bytes:
    return orjson.dumps({"plan": dump_plan(item.plan), "payload": item.payload})


def _rewound(entry: Entry, now: float) -> Rewound:
    """The series after the clock was set back before the time from which it was reckoned."""
    item = _item(entry)
    plan, step = item.plan.rewound(_progress(entry.state), now)
    return Rewound(step.due, _data(replace(item, plan=plan)), _state(step))


def _progress(state: bytes) -> Progress:
    return Progress(*orjson.loads(state)) if state else Progress()


def _state(step: Step) -> bytes:
    return orjson.dumps([step.progress.count, step.progress.last, step.progress.attempts])
