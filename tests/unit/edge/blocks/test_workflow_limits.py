"""Limits of what is with an app's workers at once, and how long ended workflows are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from edge.blocks.workflow import wire
from edge.blocks.workflow.engine import Engine
from edge.blocks.workflow.limits import Limits, limits_of
from edge.blocks.workflow.manager import Manager
from edge.config.configuration import Concurrency, Retention, Workflow
from edge.database import Database
from edge.tasks import Tasks
from tests.unit.edge.blocks.test_workflow import chain, complete, events, schedule, work


class Stream:
    """A worker that takes items and answers when told to."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.items: list[Any] = []

    async def run(self) -> None:
        async for item in self.engine.work_items("app"):
            self.items.append(item)


def play(path: Path, limits: Limits, scenario: Callable[[Manager, Tasks], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Database.open(path / "edged.db") as database, Tasks("test") as tasks, asyncio.timeout(15):
            await scenario(Manager(Engine(database, tasks, limits)), tasks)

    asyncio.run(main())


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.005)


def fan(request: Any) -> list[Any]:
    done = events(request, "taskCompleted")
    if len(done) == 6:
        return [complete(7, "all")]
    return [schedule(n, "slow" if n < 4 else "quick") for n in range(1, 7)] if not request.pastEvents else []


async def answered(stream: Stream, item: Any) -> None:
    request = item.activityRequest
    answer = wire.service.ActivityResponse(instanceId=request.workflowInstance.instanceId, taskId=request.taskId, result=wire.text("x"))
    await stream.engine.complete_activity("app", answer)


def test_no_more_activities_are_out_than_allowed(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        stream = Stream(manager.engine)
        tasks.spawn("stream", stream.run)
        await manager.start("app", "w", "fan")
        await until(lambda: bool(stream.items))
        turn = stream.items.pop().workflowRequest
        await manager.engine.complete_turn("app", wire.service.WorkflowResponse(instanceId="w", actions=fan(turn)))
        await until(lambda: len(stream.items) == 2)
        await answered(stream, stream.items[0])
        await until(lambda: sum(i.HasField("activityRequest") for i in stream.items) == 3)

    play(tmp_path, Limits(activities=2), scenario)


def test_limit_of_a_name_holds_up_no_other_name(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        stream = Stream(manager.engine)
        tasks.spawn("stream", stream.run)
        await manager.start("app", "w", "fan")
        await until(lambda: bool(stream.items))
        turn = stream.items.pop().workflowRequest
        await manager.engine.complete_turn("app", wire.service.WorkflowResponse(instanceId="w", actions=fan(turn)))
        await until(lambda: len(stream.items) == 4)

        assert sorted(item.activityRequest.name for item in stream.items) == ["quick", "quick", "quick", "slow"]
        await answered(stream, next(item for item in stream.items if item.activityRequest.name == "slow"))
        await until(lambda: sum(item.activityRequest.name == "slow" for item in stream.items) == 2)

    play(tmp_path, Limits(named_activities={"slow": 1}), scenario)


def test_turns_of_a_name_wait_for_each_other(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        stream = Stream(manager.engine)
        tasks.spawn("stream", stream.run)
        for name in "ab":
            await manager.start("app", name, "one")
        await manager.start("app", "c", "other")
        await until(lambda: len(stream.items) == 2)

        assert {item.workflowRequest.instanceId for item in stream.items} == {"a", "c"}
        await manager.engine.complete_turn("app", wire.service.WorkflowResponse(instanceId="a", actions=[complete(1, "")]))
        await until(lambda: len(stream.items) == 3)

    play(tmp_path, Limits(named_workflows={"one": 1}), scenario)


def test_ended_workflow_is_gone_after_its_retention(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        work(manager, tasks, chain)
        await manager.start("app", "w", "chain")
        while await manager.head("app", "w") is not None:
            await asyncio.sleep(0.01)

    play(tmp_path, Limits(retention={wire.COMPLETED: 0.05}), scenario)


def test_configuration_becomes_limits() -> None:
    settings = Workflow(
        max_concurrent_workflow_invocations=5,
        global_max_concurrent_workflow_invocations=3,
        activity_concurrency_limits=(Concurrency("slow", 2), Concurrency("free", 0)),
        state_retention_policy=Retention(any_terminal=60.0, failed=5.0),  # type: ignore[arg-type]
    )

    limits = limits_of(settings)

    assert (limits.workflows, limits.activities, limits.named_activities) == (3, 0, {"slow": 2})
    assert limits.retention == {wire.COMPLETED: 60.0, wire.FAILED: 5.0, wire.TERMINATED: 60.0}
