"""Resiliency around actors: retries and breakers before the turn, the timeout in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge.actor import ERROR_HEADER, ActorCall, ActorFailed
from edge.app import App, Parts
from edge.blocks.actors.service import ActorService
from edge.blocks.actors.state import ActorState
from edge.blocks.policies import AppPolicies
from edge.blocks.series import Series
from edge.clock import SystemClock
from edge.database import Database
from edge.errors import EdgeError
from edge.model import InvokeResponse
from edge.resiliency import ActorTarget, BreakerSettings, Retry, Rules
from edge.scheduler import Scheduler
from edge.tasks import Tasks
from tests.unit.edge.blocks.actors.rig import Troupe

RULES = Rules(
    timeouts={"short": 0.2},
    breakers={"two": BreakerSettings(timeout=60.0)},
    actors={"Lamp": ActorTarget("short", "twice"), "Fuse": ActorTarget("", "", "two", "type")},
)
RULES.retries["twice"] = Retry(duration=0.01, max_retries=2)


async def call(folder: Path, troupe: Troupe, type_: str = "Lamp", times: int = 1) -> list[object]:
    """What calls of an actor end with: the body, or the message of the refusal."""
    app = App("lamps")
    found: list[object] = []
    async with Database.open(folder / "edged.db") as database, Tasks("test") as tasks:
        clock = SystemClock()
        scheduler = Scheduler(database, tasks, clock)
        state = ActorState(Parts(), None, ttl=False)
        actors = ActorService(tasks, clock, Series(scheduler), state, policies=AppPolicies(lambda app_id: RULES))
        await actors.register(app, troupe, {"entities": ["Lamp", "Fuse"]})
        for _ in range(times):
            try:
                found.append((await actors.invoke(app, ActorCall(type_, "hall", "Look"))).body)
            except EdgeError as error:
                found.append(error.message)
        await actors.close(0.0)
    return found


def failing(times: int, text: str = "error from actor service: (500) dark") -> Troupe:
    """Fails so many times, then answers."""
    left = times

    async def act(_: ActorCall) -> InvokeResponse:
        nonlocal left
        left -= 1
        if left >= 0:
            raise ActorFailed(text)
        return InvokeResponse(200, body=b"light")

    return Troupe(act)


@pytest.mark.parametrize(
    ("troupe", "ends", "calls"),
    [
        (failing(2), b"light", 3),
        (failing(9), "error invoke actor method: error from actor service: (500) dark", 3),
        (failing(9, "actor method not found: Look"), "error invoke actor method: actor method not found: Look", 1),
    ],
    ids=["recovers", "given up", "no such method"],
)
async def test_a_failed_call_is_tried_again(tmp_path: Path, troupe: Troupe, ends: object, calls: int) -> None:
    assert await call(tmp_path, troupe) == [ends]
    assert len(troupe.calls) == calls


async def test_an_actor_s_own_error_counts_as_failed_and_is_the_answer_in_the_end(tmp_path: Path) -> None:
    async def act(_: ActorCall) -> InvokeResponse:
        return InvokeResponse(200, ((ERROR_HEADER, "true"),), b"oh")

    troupe = Troupe(act)

    assert await call(tmp_path, troupe) == [b"oh"]
    assert len(troupe.calls) == 3


async def test_a_turn_that_takes_too_long_is_cut_and_tried_again(tmp_path: Path) -> None:
    slow = True

    async def act(_: ActorCall) -> InvokeResponse:
        nonlocal slow
        if slow:
            slow = False
            await asyncio.sleep(10)
        return InvokeResponse(200, body=b"light")

    troupe = Troupe(act)

    assert await call(tmp_path, troupe) == [b"light"]
    assert len(troupe.calls) == 2


async def test_an_open_breaker_spares_the_actors_of_its_type(tmp_path: Path) -> None:
    troupe = failing(99)

    ends = await call(tmp_path, troupe, "Fuse", 8)

    assert ends[-1] == "error invoke actor method: circuit breaker is open"
    assert len(troupe.calls) == 6
