"""The workflow engine on a real file: turns, timers, children, kill and reopen. The worker is a function of the work item."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from edge.blocks.workflow import store, wire
from edge.blocks.workflow.engine import Engine
from edge.blocks.workflow.manager import AlreadyActive, Manager, NoSuchInstance, NotEnded
from edge.database import Database
from edge.tasks import Tasks

A = wire.actions
Orchestrator = Callable[[Any], list[Any]]


def schedule(number: int, name: str, data: str = "") -> Any:
    return A.WorkflowAction(id=number, scheduleTask=A.ScheduleTaskAction(name=name, input=wire.text(data), taskExecutionId=f"x{number}"))


def complete(number: int, result: str | None, status: int = wire.COMPLETED, **more: Any) -> Any:
    return A.WorkflowAction(id=number, completeWorkflow=A.CompleteWorkflowAction(workflowStatus=status, result=wire.text(result), **more))  # type: ignore[arg-type]


def events(request: Any, kind: str) -> list[Any]:
    return [getattr(e, kind) for e in (*request.pastEvents, *request.newEvents) if e.HasField(kind)]


class Worker:
    """Takes items of one app until cancelled; unfinished items are what a dead worker leaves."""

    def __init__(self, engine: Engine, orchestrator: Orchestrator, app: str = "app", activity: Callable[[Any], str] | None = None) -> None:
        self.engine, self.orchestrator, self.app = engine, orchestrator, app
        self.activity = activity or (lambda item: item.input.value.upper())
        self.turns: list[Any] = []
        self.activities: list[Any] = []

    async def run(self) -> None:
        async for item in self.engine.work_items(self.app):
            if item.HasField("workflowRequest"):
                self.turns.append(item.workflowRequest)
                answer = wire.service.WorkflowResponse(
                    instanceId=item.workflowRequest.instanceId, actions=self.orchestrator(item.workflowRequest)
                )
                await self.engine.complete_turn(self.app, answer)
            else:
                self.activities.append(item.activityRequest)
                request = item.activityRequest
                result = wire.text(self.activity(request))
                answer = wire.service.ActivityResponse(instanceId=request.workflowInstance.instanceId, taskId=request.taskId, result=result)
                await self.engine.complete_activity(self.app, answer)


def chain(request: Any) -> list[Any]:
    done = events(request, "taskCompleted")
    if len(done) == 3:
        return [complete(4, done[-1].result.value)]
    return [schedule(len(done) + 1, "step", done[-1].result.value + "!" if done else "a")]


def run(path: Path, scenario: Callable[[Manager, Tasks], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Database.open(path / "edged.db") as database, Tasks("test") as tasks, asyncio.timeout(15):
            await scenario(Manager(Engine(database, tasks)), tasks)

    asyncio.run(main())


def work(manager: Manager, tasks: Tasks, orchestrator: Orchestrator, **more: Any) -> Worker:
    worker = Worker(manager.engine, orchestrator, **more)
    tasks.spawn("worker", worker.run)
    return worker


def test_chain_of_three_completes_with_history_as_daprd_writes_it(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        work(manager, tasks, chain)

        await manager.start("app", "one", "three", input=wire.text("a"))
        await manager.wait_ended("app", "one")

        state = await manager.state("app", "one")
        kinds = [e.WhichOneof("eventType") for e in await manager.history("app", "one")]
        assert state.output.value == "A!!" and state.workflowStatus == wire.COMPLETED
        assert kinds[:6] == ["workflowStarted", "executionStarted", "taskScheduled", "workflowStarted", "taskCompleted", "taskScheduled"]
        assert kinds[-1] == "executionCompleted" and len(kinds) == 12

    run(tmp_path, scenario)


def test_work_goes_on_after_the_file_is_opened_again(tmp_path: Path) -> None:
    async def first(manager: Manager, tasks: Tasks) -> None:
        await manager.start("app", "one", "three")

    async def second(manager: Manager, tasks: Tasks) -> None:
        work(manager, tasks, chain)
        await manager.wait_ended("app", "one")
        assert (await manager.state("app", "one")).workflowStatus == wire.COMPLETED

    run(tmp_path, first)
    run(tmp_path, second)


def test_activities_of_before_a_restart_are_handed_out(tmp_path: Path) -> None:
    async def first(manager: Manager, tasks: Tasks) -> None:
        worker = Worker(manager.engine, chain)
        items = manager.engine.work_items("app")
        await manager.start("app", "one", "three", input=wire.text("a"))
        turn = (await anext(items)).workflowRequest
        answer = wire.service.WorkflowResponse(instanceId=turn.instanceId, actions=worker.orchestrator(turn))
        await manager.engine.complete_turn("app", answer)
        assert (await anext(items)).HasField("activityRequest")

    async def second(manager: Manager, tasks: Tasks) -> None:
        worker = work(manager, tasks, chain)
        await manager.wait_ended("app", "one")
        assert (await manager.state("app", "one")).output.value == "A!!"
        assert [item.taskId for item in worker.activities] == [1, 2, 3]

    run(tmp_path, first)
    run(tmp_path, second)


@pytest.mark.parametrize("held", ["turn", "activity"])
def test_what_a_worker_had_when_it_went_goes_to_another(held: str, tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        items = manager.engine.work_items("app")
        await manager.start("app", "one", "three", input=wire.text("a"))
        turn = (await anext(items)).workflowRequest
        if held == "activity":
            await manager.engine.complete_turn("app", wire.service.WorkflowResponse(instanceId=turn.instanceId, actions=chain(turn)))
            assert (await anext(items)).HasField("activityRequest")
        await items.aclose()  # type: ignore[attr-defined]

        work(manager, tasks, chain)
        await manager.wait_ended("app", "one")

        assert (await manager.state("app", "one")).output.value == "A!!"

    run(tmp_path, scenario)


def test_child_with_the_id_of_an_active_instance_fails_in_its_parent(tmp_path: Path) -> None:
    def orchestrator(request: Any) -> list[Any]:
        if events(request, "executionStarted")[0].name == "waits":
            return waiting(request)
        if failed := events(request, "childWorkflowInstanceFailed"):
            return [complete(2, failed[0].failureDetails.errorType)]
        child = A.CreateChildWorkflowAction(instanceId="taken", name="waits", input=wire.text("the child's"))
        return [A.WorkflowAction(id=1, createChildWorkflow=child)]

    async def scenario(manager: Manager, tasks: Tasks) -> None:
        work(manager, tasks, orchestrator)
        await manager.start("app", "taken", "waits", input=wire.text("the first"))
        await manager.wait_started("app", "taken")

        await manager.start("app", "p", "parent")
        await manager.wait_ended("app", "p")

        assert (await manager.state("app", "p")).output.value == "WorkflowInstanceAlreadyExists"
        state = await manager.state("app", "taken")
        assert (state.workflowStatus, state.input.value) == (wire.RUNNING, "the first")

    run(tmp_path, scenario)


def test_timer_fires_not_before_its_time(tmp_path: Path) -> None:
    def orchestrator(request: Any) -> list[Any]:
        if events(request, "timerFired"):
            return [complete(2, "slept")]
        fire = wire.Timestamp(seconds=request.newEvents[0].timestamp.seconds, nanos=request.newEvents[0].timestamp.nanos)
        fire.nanos, fire.seconds = (fire.nanos + 150_000_000) % 10**9, fire.seconds + (fire.nanos + 150_000_000) // 10**9
        return [A.WorkflowAction(id=1, createTimer=A.CreateTimerAction(fireAt=fire))]

    async def scenario(manager: Manager, tasks: Tasks) -> None:
        work(manager, tasks, orchestrator)

        await manager.start("app", "nap", "sleeper")
        await manager.wait_ended("app", "nap")

        history = await manager.history("app", "nap")
        fired = next(e for e in history if e.HasField("timerFired"))
        assert (fired.timerFired.fireAt.seconds, fired.timerFired.timerId) == (fired.timerFired.fireAt.seconds, 1)

    run(tmp_path, scenario)


def test_child_ends_as_event_in_its_parent(tmp_path: Path) -> None:
    def orchestrator(request: Any) -> list[Any]:
        started = events(request, "executionStarted")[0]
        if started.name == "child":
            return [complete(1, "from child")]
        if done := events(request, "childWorkflowInstanceCompleted"):
            return [complete(2, done[0].result.value)]
        return [A.WorkflowAction(id=1, createChildWorkflow=A.CreateChildWorkflowAction(name="child"))]

    async def scenario(manager: Manager, tasks: Tasks) -> None:
        work(manager, tasks, orchestrator)

        await manager.start("app", "p", "parent")
        await manager.wait_ended("app", "p")

        assert (await manager.state("app", "p")).output.value == "from child"
        assert (await manager.head("app", "p:0001")).parent_id == "p"
        assert await manager.purge("app", "p", recursive=True) == 2

    run(tmp_path, scenario)


def test_continue_as_new_starts_history_again(tmp_path: Path) -> None:
    def orchestrator(request: Any) -> list[Any]:
        count = int(events(request, "executionStarted")[0].input.value)
        assert not request.pastEvents
        return [complete(1, str(count + 1), wire.CONTINUED_AS_NEW) if count < 50 else complete(1, "end")]

    async def scenario(manager: Manager, tasks: Tasks) -> None:
        worker = work(manager, tasks, orchestrator)

        await manager.start("app", "loop", "again", input=wire.text("0"))
        await manager.wait_ended("app", "loop")

        assert len(worker.turns) == 51
        assert len(await manager.history("app", "loop")) == 3

    run(tmp_path, scenario)


def waiting(request: Any) -> list[Any]:
    raised = events(request, "eventRaised")
    return [complete(1, raised[0].input.value)] if raised else []


def test_event_wakes_an_instance_and_an_ended_one_ignores_it(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        work(manager, tasks, waiting)
        await manager.start("app", "w", "waits")
        await manager.wait_started("app", "w")

        await manager.raise_event("app", "w", "go", '"now"')
        await manager.wait_ended("app", "w")
        await manager.raise_event("app", "w", "go", '"late"')

        assert (await manager.state("app", "w")).output.value == '"now"'
        with pytest.raises(NoSuchInstance):
            await manager.raise_event("app", "ghost", "go", None)

    run(tmp_path, scenario)


def test_suspend_resume_and_terminate_change_the_status(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        work(manager, tasks, lambda request: [])
        await manager.start("app", "w", "waits")

        await manager.suspend("app", "w", "stop", wait=True)
        assert (await manager.state("app", "w")).workflowStatus == wire.SUSPENDED
        with pytest.raises(NotEnded):
            await manager.purge("app", "w", recursive=False)
        await manager.resume("app", "w", None, wait=True)
        await manager.terminate("app", "w", "bye", recursive=True, wait=True)

        state = await manager.state("app", "w")
        assert (state.workflowStatus, state.output.value) == (wire.TERMINATED, "bye")

    run(tmp_path, scenario)


def test_id_of_an_active_instance_is_refused_and_of_an_ended_one_reused(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        work(manager, tasks, waiting)
        await manager.start("app", "w", "waits")
        with pytest.raises(AlreadyActive):
            await manager.start("app", "w", "waits")
        await manager.raise_event("app", "w", "go", "1")
        await manager.wait_ended("app", "w")

        await manager.start("app", "w", "waits")
        await manager.wait_started("app", "w")

        assert (await manager.state("app", "w")).workflowStatus == wire.RUNNING

    run(tmp_path, scenario)


def test_results_that_nobody_waits_for_are_dropped(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        await manager.engine.open()

        await manager.engine.complete_turn("app", wire.service.WorkflowResponse(instanceId="ghost"))
        await manager.engine.complete_activity("app", wire.service.ActivityResponse(instanceId="ghost", taskId=1))

        assert await manager.state("app", "ghost") is None

    run(tmp_path, scenario)


class Forgetful(Worker):
    """Never ends an activity."""

    async def run(self) -> None:
        async for item in self.engine.work_items(self.app):
            if item.HasField("activityRequest"):
                self.activities.append(item.activityRequest)
                continue
            self.turns.append(item.workflowRequest)
            actions = self.orchestrator(item.workflowRequest) if len(self.turns) == 1 else []
            await self.engine.complete_turn(self.app, wire.service.WorkflowResponse(instanceId="w", actions=actions))


def test_an_activity_that_ends_after_its_instance_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        worker = Forgetful(manager.engine, chain)
        tasks.spawn("worker", worker.run)
        await manager.start("app", "w", "saga")
        while not worker.activities:
            await asyncio.sleep(0.002)
        await manager.terminate("app", "w", None, recursive=False, wait=True)
        turns = len(worker.turns)

        await manager.engine.complete_activity("app", wire.service.ActivityResponse(instanceId="w", taskId=worker.activities[0].taskId))
        await asyncio.sleep(0.02)

        assert len(worker.turns) == turns
        assert manager.engine.database.row_now("SELECT count(*) FROM workflow_inbox") == (0,)

    run(tmp_path, scenario)


def test_an_answer_of_an_old_life_changes_nothing(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        await manager.start("app", "w", "saga")
        head = await manager.head("app", "w")
        assert head is not None
        rows = [row for (row,) in manager.engine.database.read_now("SELECT n FROM workflow_inbox")]
        changes = store.Changes(wire.COMPLETED, history=[b"old"], inbox_done=rows, finished=True)

        done = await manager.engine.database.write(lambda tx: store.commit_turn(tx, head.n, head.generation - 1, changes))

        assert not done
        assert await manager.head("app", "w") == head
        assert manager.engine.database.row_now("SELECT count(*) FROM workflow_inbox") == (1,)

    run(tmp_path, scenario)


def test_fan_out_of_a_hundred_joins(tmp_path: Path) -> None:
    def orchestrator(request: Any) -> list[Any]:
        done = events(request, "taskCompleted")
        if len(done) == 100:
            return [complete(101, "all")]
        return [schedule(i, "part", str(i)) for i in range(1, 101)] if not events(request, "taskScheduled") else []

    async def scenario(manager: Manager, tasks: Tasks) -> None:
        worker = work(manager, tasks, orchestrator)

        await manager.start("app", "fan", "out")
        await manager.wait_ended("app", "fan")

        assert len(worker.activities) == 100

    run(tmp_path, scenario)


@pytest.mark.parametrize("order", ["raise_event", "suspend"])
def test_order_for_an_instance_that_starts_later_starts_it(tmp_path: Path, order: str) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        work(manager, tasks, lambda request: [complete(1, str(len(events(request, "eventRaised"))))])
        await manager.start("app", "later", "w", start=wire.Timestamp(seconds=wire.now().seconds + 3600))

        if order == "suspend":
            await manager.suspend("app", "later", "why", wait=True)
        else:
            await manager.raise_event("app", "later", "go", None)
        await manager.wait_ended("app", "later")

        assert (await manager.state("app", "later")).output.value == {"suspend": "0", "raise_event": "1"}[order]

    run(tmp_path, scenario)
