"""Actors hosted and called by the Python SDK: over FastAPI, over Flask, or over the gRPC stream, as the first argument says."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

from dapr.actor import Actor, ActorId, ActorInterface, ActorProxy, Remindable, actormethod
from dapr.actor.runtime.config import ActorReentrancyConfig, ActorRuntimeConfig, ActorTypeConfig
from dapr.actor.runtime.runtime import ActorRuntime
from report import APP_PORT, say, until

MS = timedelta(milliseconds=1)


class Seen:
    ticks: list[Any] = []
    reminders: list[str] = []
    gone: list[str] = []
    inside = 0
    most = 0


class KilnInterface(ActorInterface):
    @actormethod(name="Heat")
    async def heat(self, degrees: int) -> int: ...

    @actormethod(name="Cool")
    async def cool(self) -> None: ...

    @actormethod(name="Slow")
    async def slow(self) -> None: ...

    @actormethod(name="Crack")
    async def crack(self) -> None: ...

    @actormethod(name="Bounce")
    async def bounce(self, path: str) -> str: ...

    @actormethod(name="Timer")
    async def timer(self, on: bool) -> None: ...

    @actormethod(name="Remind")
    async def remind(self) -> None: ...


class Kiln(Actor, KilnInterface, Remindable):
    async def _on_deactivate(self) -> None:
        Seen.gone.append(str(self.id))

    async def heat(self, degrees: int) -> int:
        known, value = await self._state_manager.try_get_state("heat")
        await self._state_manager.set_state("heat", (value if known else 0) + degrees)
        return (value if known else 0) + degrees

    async def cool(self) -> None:
        await self._state_manager.remove_state("heat")

    async def slow(self) -> None:
        Seen.inside += 1
        Seen.most = max(Seen.most, Seen.inside)
        await asyncio.sleep(0.02)
        Seen.inside -= 1

    async def crack(self) -> None:
        raise RuntimeError("cracked")

    async def bounce(self, path: str) -> str:
        """Go through the actors named in `path`, which may come back to this one."""
        if not path:
            return ""
        return path[0] + str(await proxy(path[0], type(self).__name__).Bounce(path[1:]))

    async def timer(self, on: bool) -> None:
        if on:
            await self.register_timer("t", self.tick, {"drop": 1}, 20 * MS, 20 * MS)
        else:
            await self.unregister_timer("t")

    async def tick(self, state: Any) -> None:
        Seen.ticks.append(state)

    async def remind(self) -> None:
        await self.register_reminder("r", b"look", 20 * MS, 20 * MS, timedelta(seconds=2))

    async def receive_reminder(self, name: str, state: bytes, due_time: timedelta, period: timedelta, ttl: timedelta | None = None) -> None:
        Seen.reminders.append(f"{name} {state.decode()}")


class Knot(Kiln):
    pass


class Brief(Kiln):
    pass


TYPES = (Kiln, Knot, Brief)


def proxy(id_: str, type_: str = "Kiln") -> Any:
    return ActorProxy.create(type_, ActorId(id_), KilnInterface)


def configure() -> None:
    knot = ActorTypeConfig("Knot", reentrancy=ActorReentrancyConfig(True, 3))
    brief = ActorTypeConfig("Brief", actor_idle_timeout=800 * MS)
    config = ActorRuntimeConfig(actor_type_configs=[knot, brief])
    ActorRuntime.set_actor_config(config)


async def steps() -> None:
    kiln = proxy("one")
    say("heat", [await kiln.Heat(2), await kiln.Heat(3)])
    await asyncio.gather(*[kiln.Slow() for _ in range(5)])
    say("most at once", Seen.most)
    say("failure", "cracked" in await failure(kiln.Crack()))
    await kiln.Timer(True)
    await until(lambda: len(Seen.ticks) >= 3)
    await kiln.Timer(False)
    say("tick", Seen.ticks[2])
    await kiln.Remind()
    await until(lambda: len(Seen.reminders) >= 3)
    say("reminder", Seen.reminders[2])
    await kiln.Cool()
    say("heat after cooling", await kiln.Heat(1))
    await reentrancy()
    await proxy("brief", "Brief").Slow()
    await until(lambda: "brief" in Seen.gone)
    say("gone", "brief")


async def reentrancy() -> None:
    say("there and back", await proxy("a", "Knot").Bounce("ba"))
    say("too deep", "maximum stack depth exceeded" in await failure(proxy("a", "Knot").Bounce("aaa")))


async def failure(call: Awaitable[Any]) -> str:
    """How the caller learns of it; an actor on a stream reports in the body of its answer."""
    try:
        return str(await call)
    except Exception as error:
        return str(error)


async def fastapi() -> None:
    import uvicorn
    from dapr.ext.fastapi import DaprActor
    from fastapi import FastAPI

    app = FastAPI()
    actors = DaprActor(app)
    for type_ in TYPES:
        await actors.register_actor(type_)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=APP_PORT, log_level="error"))
    serving = asyncio.create_task(server.serve())
    await steps()
    server.should_exit = True
    await serving


async def flask() -> None:
    from flask import Flask
    from flask_dapr.actor import DaprActor

    app = Flask("kilns")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    actors = DaprActor(app)
    await asyncio.to_thread(lambda: [actors.register_actor(type_) for type_ in TYPES])
    threading.Thread(target=lambda: app.run("127.0.0.1", APP_PORT, threaded=True), daemon=True).start()
    await steps()


async def stream() -> None:
    from dapr.actor.runtime.grpc_host import ActorGrpcHost

    host = ActorGrpcHost()
    for type_ in TYPES:
        await host.register_actor(type_)
    await host.start()
    await steps()
    await host.stop()


configure()
asyncio.run({"fastapi": fastapi, "flask": flask, "stream": stream}[sys.argv[1]]())
