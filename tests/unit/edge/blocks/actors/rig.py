"""An actor service on a real file, and an app that hosts actors in this process and keeps what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from components.state.in_memory import Fields, Store
from edge.actor import ActorCall, ActorTick
from edge.app import App, Part, Parts
from edge.blocks.actors.service import ActorService
from edge.blocks.actors.state import ActorState
from edge.blocks.series import Series
from edge.clock import SystemClock
from edge.component import Context
from edge.database import Database
from edge.model import InvokeResponse
from edge.scheduler import Scheduler
from edge.tasks import Tasks


@dataclass
class Troupe:
    """A host. act: what a method does; log: every request as `what type/id/name`; running: how many calls an actor has at once."""

    act: Callable[[ActorCall], Awaitable[InvokeResponse]] | None = None
    on_tick: Callable[[ActorTick], Awaitable[None]] | None = None
    log: list[str] = field(default_factory=list)
    ticks: list[tuple[float, ActorTick]] = field(default_factory=list)
    calls: list[ActorCall] = field(default_factory=list)

    async def invoke(self, call: ActorCall) -> InvokeResponse:
        self.log.append(f"method {call.type}/{call.id}/{call.method}")
        self.calls.append(call)
        return await self.act(call) if self.act else InvokeResponse(200, body=b"done")

    async def remind(self, tick: ActorTick) -> bool:
        return await self._tick("remind", tick)

    async def timer(self, tick: ActorTick) -> bool:
        return await self._tick("timer", tick)

    async def _tick(self, what: str, tick: ActorTick) -> bool:
        self.log.append(f"{what} {tick.type}/{tick.id}/{tick.name}")
        self.ticks.append((asyncio.get_running_loop().time(), tick))
        if self.on_tick is not None:
            await self.on_tick(tick)
        return False

    async def deactivate(self, type_: str, id_: str) -> None:
        self.log.append(f"deactivate {type_}/{id_}")


@dataclass
class Rig:
    """app: hosts `Lamp` (and what a test registers) in `troupe`."""

    app: App
    troupe: Troupe
    actors: ActorService
    scheduler: Scheduler
    started: float = 0.0

    async def call(self, id_: str = "hall", method: str = "Look", type_: str = "Lamp", **fields: str) -> bytes:
        answer = await self.actors.invoke(self.app, ActorCall(type_, id_, method, **fields))  # type: ignore[arg-type]
        assert isinstance(answer.body, bytes)
        return answer.body

    def times(self) -> list[float]:
        """When ticks came, in seconds since the rig opened, rounded."""
        return [round(at - self.started, 2) for at, _ in self.troupe.ticks]


def context() -> Context:
    async def no_database() -> Database:
        raise AssertionError("not used")

    return Context("st", ("lamps",), "default", Path("/nonexistent"), Tasks("none"), no_database)


@contextlib.asynccontextmanager
async def opened(
    folder: Path, config: dict[str, object] | None = None, *, ttl: bool = False, troupe: Troupe | None = None
) -> AsyncIterator[Rig]:
    """A rig whose app is registered; `config` is its /dapr/config."""
    app, troupe, clock = App("lamps"), troupe or Troupe(), SystemClock()
    parts = Parts([Part("st", "state.in-memory", "v1", Store(Fields(), context()), {"actorstatestore": "true"})])
    async with Database.open(folder / "edged.db") as database, Tasks("test") as tasks:
        scheduler = Scheduler(database, tasks, clock)
        actors = ActorService(tasks, clock, Series(scheduler), ActorState(parts, None, ttl=ttl))
        await actors.register(app, troupe, {"entities": ["Lamp"], **(config or {})})
        yield Rig(app, troupe, actors, scheduler, asyncio.get_running_loop().time())
        await actors.close(0.0)


async def until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.002)
