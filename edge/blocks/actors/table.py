"""The active actors of a type on one host: activation by the first call, turns, deactivation when idle, moved or drained.

An idle actor costs one small object and one dictionary entry; one timer serves a whole type. Source: Dapr pkg/actors/targets/app @1.18.3.
The idle time counts from the **begin** of the last turn: a turn that takes longer is cut, which also ends an actor that waits for itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar
from uuid import uuid4

from edge.actor import ActorCall, ActorFailed, ActorHost, ActorTick, HostGone
from edge.app import App, AppUnavailable
from edge.blocks.actors.config import TypeConfig
from edge.blocks.actors.turns import Turns
from edge.model import InvokeResponse
from edge.tasks import Tasks

log = logging.getLogger("dapr.runtime.actors.targets.app")
T = TypeVar("T")
AT_ONCE = 64
DEACTIVATION_TIMEOUT = 10.0


class Actor(Turns):
    """One active instance. idle_at: loop time. gone: resolved when its deactivation is over, None before it began."""

    __slots__ = ("gone", "id", "idle_at")

    def __init__(self, id_: str) -> None:
        super().__init__()
        self.id = id_
        self.idle_at = 0.0
        self.gone: asyncio.Future[None] | None = None


class ActorType:
    """One type on one host: its active instances, the longest idle first."""

    def __init__(self, app: App, name: str, config: TypeConfig, host: ActorHost, tasks: Tasks) -> None:
        self.app, self.name, self.config, self.host = app, name, config, host
        self.closed = False
        self._tasks = tasks
        self._active: dict[str, Actor] = {}
        self._closing: dict[str, Actor] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._alarm: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._active)

    def has(self, id_: str) -> bool:
        """The instance is active (or saves its last state while it is being deactivated)."""
        return id_ in self._active or id_ in self._closing

    async def invoke(self, call: ActorCall) -> InvokeResponse:
        """A method call in its turn. Raises ActorFailed, AppUnavailable, StackTooDeep, HostGone (the type is no longer here)."""
        if self.config.reentrant:
            call = call.within(call.reentrancy or str(uuid4()))
            return await self._turn(call.id, call.reentrancy, lambda: self.host.invoke(call))
        return await self._turn(call.id, "", lambda: self.host.invoke(call))

    async def remind(self, tick: ActorTick) -> bool:
        """A reminder in its turn; errors as `invoke`."""
        return await self._fired("reminders", self._turn(tick.id, "", lambda: self.host.remind(tick)))

    async def timer(self, tick: ActorTick) -> bool:
        """A timer's tick in its turn; errors as `invoke`."""
        return await self._fired("timers", self._turn(tick.id, "", lambda: self.host.timer(tick)))

    async def halt(self, which: Iterable[str] | None = None, patience: float | None = None) -> None:
        """Deactivate instances (all: None). patience: seconds for running turns, None = as the app configured."""
        if patience is None:
            patience = self.config.drain_timeout if self.config.drain else 0.0
        ids = list(self._active if which is None else which)
        actors = [self._retire(self._active[id_]) for id_ in ids if id_ in self._active]
        await asyncio.gather(*[self._deactivate(actor, patience) for actor in actors])
        await asyncio.gather(*[actor.gone for actor in self._closing.values() if actor.gone is not None])

    async def close(self, patience: float | None = None) -> None:
        """No new turns here; deactivate all."""
        self.closed = True
        await self.halt(patience=patience)
        if self._alarm is not None:
            self._alarm.cancel()

    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return sum(actor.waiting for actor in self._active.values())

    async def _fired(self, what: str, turn: Awaitable[bool]) -> bool:
        """The same turn, counted."""
        success = "false"
        try:
            done = await turn
            success = "true"
            return done
        except HostGone:
            success = ""
            raise
        finally:
            if success and self.app.metrics is not None:
                self.app.metrics.count(f"runtime_actor_{what}_fired_total", (self.name, success))

    def active(self) -> list[str]:
        """Ids of the active instances."""
        return list(self._active)

    async def _turn(self, id_: str, stack: str, work: Callable[[], Awaitable[T]]) -> T:
        while not self.closed:
            actor = self._active.get(id_)
            if actor is None:
                going = self._closing.get(id_)
                if going is not None and going.gone is not None:
                    await asyncio.shield(going.gone)
                    continue
                actor = self._active[id_] = Actor(id_)
            try:
                return await actor.run(stack, self.config.max_depth, partial(self._touch, actor), work)
            except HostGone:
                if not actor.closed:
                    raise
        raise HostGone

    def _touch(self, actor: Actor) -> None:
        """The idle time starts anew: the actor goes to the end of the line."""
        loop = asyncio.get_running_loop()
        actor.idle_at = loop.time() + self.config.idle_timeout
        if self._active.pop(actor.id, None) is not None:
            self._active[actor.id] = actor
        if self._alarm is None:
            self._alarm = loop.call_at(actor.idle_at, self._idle)

    def _idle(self) -> None:
        now = asyncio.get_running_loop().time()
        self._alarm = None
        for actor in list(self._active.values()):
            if actor.idle_at > now:
                self._alarm = asyncio.get_running_loop().call_at(actor.idle_at, self._idle)
                return
            self._tasks.start(f"deactivate[{self.name}]", self._deactivate(self._retire(actor), 0.0))

    def _retire(self, actor: Actor) -> Actor:
        """From now on callers wait until the instance is gone, then activate a new one."""
        self._closing[actor.id] = self._active.pop(actor.id)
        actor.gone = asyncio.get_running_loop().create_future()
        return actor

    def _count(self, family: str, *labels: str) -> None:
        if self.app.metrics is not None:
            self.app.metrics.count(family, labels)

    async def _deactivate(self, actor: Actor, patience: float) -> None:
        try:
            await actor.close(patience)
            async with self._slots, asyncio.timeout(DEACTIVATION_TIMEOUT):
                await self.host.deactivate(self.name, actor.id)
            self._count("runtime_actor_deactivated_total", self.name)
        except (ActorFailed, AppUnavailable, HostGone, TimeoutError) as error:
            self._count("runtime_actor_deactivated_failed_total", self.name, "invoke")
            log.debug("Failed to halt actor %s||%s: %s", self.name, actor.id, error or "no answer")
        finally:
            del self._closing[actor.id]
            if actor.gone is not None and not actor.gone.done():
                actor.gone.set_result(None)
