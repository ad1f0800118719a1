"""An ended instance is done again from one of its events on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.blocks.workflow import wire
from edge.blocks.workflow.manager import AlreadyActive, BadId, Manager
from edge.blocks.workflow.rerun import BadRerun, NoSuchEvent, Rerun
from edge.tasks import Tasks
from tests.unit.edge.blocks.test_workflow import A, Worker, chain, complete, events, run, schedule, work


def child(number: int, data: str) -> Any:
    return A.WorkflowAction(id=number, createChildWorkflow=A.CreateChildWorkflowAction(name="kid", input=wire.text(data)))


def timer(number: int, at: Any) -> Any:
    return A.WorkflowAction(id=number, createTimer=A.CreateTimerAction(fireAt=at))


def fan(request: Any) -> list[Any]:
    """Two activities and a child at once, then a timer; a kid answers with its input."""
    started = events(request, "executionStarted")[0]
    if started.name == "kid":
        return [complete(1, f"kid {started.input.value}")]
    done = [*events(request, "taskCompleted"), *events(request, "childWorkflowInstanceCompleted")]
    known = {event.eventId for event in (*request.pastEvents, *request.newEvents)}
    if missing := [action for action in (schedule(1, "part", "a"), schedule(2, "part", "b"), child(3, "c")) if action.id not in known]:
        return missing
    if len(done) < 3:
        return []
    if not events(request, "timerCreated"):
        return [timer(4, wire.now())]
    return [complete(5, " ".join(sorted(each.result.value for each in done)))] if events(request, "timerFired") else []


async def fanned(manager: Manager, tasks: Tasks) -> Worker:
    worker = work(manager, tasks, fan)
    await manager.start("app", "one", "fan")
    await manager.wait_ended("app", "one")
    worker.activities.clear()
    return worker


async def again(manager: Manager, wanted: Rerun) -> Any:
    await manager.rerun("app", wanted)
    await manager.wait_ended("app", wanted.new_id)
    return await manager.state("app", wanted.new_id)


def test_history_is_copied_up_to_the_event(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        worker = work(manager, tasks, chain)
        await manager.start("app", "one", "three")
        await manager.wait_ended("app", "one")

        state = await again(manager, Rerun("one", "two", 2, overwrite=True, data="new"))

        assert (state.workflowStatus, state.output.value) == (wire.COMPLETED, "NEW!")
        assert [request.input.value for request in worker.activities] == ["a", "A!", "A!!", "new", "NEW!"]

    run(tmp_path, scenario)


@pytest.mark.parametrize("event", [2, 3])
def test_what_had_not_ended_before_the_event_is_started_again_too(tmp_path: Path, event: int) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        worker = await fanned(manager, tasks)

        state = await again(manager, Rerun("one", "two", event, overwrite=True, data="z"))

        assert state.output.value == {2: "A Z kid c", 3: "A B kid z"}[event]
        assert sorted(request.input.value for request in worker.activities) == {2: ["a", "z"], 3: ["a", "b"]}[event]
        assert (await manager.state("app", "two:0003")).workflowStatus == wire.COMPLETED

    run(tmp_path, scenario)


async def first_parent(manager: Manager, instance_id: str) -> Any:
    started = next(e.executionStarted for e in await manager.history("app", instance_id) if e.HasField("executionStarted"))
    return started.parentInstance.workflowInstance


def test_child_is_started_under_the_id_that_is_asked_for(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        await fanned(manager, tasks)

        await again(manager, Rerun("one", "two", 3, child_id="mine"))

        assert (await manager.state("app", "mine")).output.value == "kid c"
        created = [
            e.childWorkflowInstanceCreated for e in await manager.history("app", "two") if e.HasField("childWorkflowInstanceCreated")
        ]
        assert (created[0].instanceId, created[0].rerunParentInstanceInfo.instanceID) == ("mine", "one")
        parents = [await first_parent(manager, each) for each in ("one:0003", "mine")]
        assert [(each.instanceId, each.HasField("executionId")) for each in parents] == [("one", True), ("two", False)]

    run(tmp_path, scenario)


def test_what_had_ended_before_the_event_is_not_done_again(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        worker = await fanned(manager, tasks)

        state = await again(manager, Rerun("one", "two", 4))

        assert state.output.value == "A B kid c"
        assert not worker.activities
        assert await manager.state("app", "two:0003") is None

    run(tmp_path, scenario)


REFUSED = [
    (Rerun("", "two", 1), BadRerun, "rerun workflow source instance ID is required"),
    (Rerun("one", "one", 1), BadRerun, "rerun workflow instance ID must be different from the original instance ID"),
    (Rerun("one:0003", "two", 1), BadRerun, "'one:0003': cannot rerun from child-workflows"),
    (Rerun("one", "two", 99), NoSuchEvent, "does not have history event with ID '99'"),
    (Rerun("one", "two", 5), NoSuchEvent, r"target event '\*protos.HistoryEvent_ExecutionCompleted' with ID '5' is not an event"),
    (Rerun("one", "two", 4, overwrite=True), BadRerun, "cannot write input to timer event '4'"),
    (Rerun("one", "two", 1, child_id="x"), BadRerun, "cannot set new child workflow instance ID on activity event '1'"),
    (Rerun("one", "two", 4, child_id="x"), BadRerun, "cannot set new child workflow instance ID on timer event '4'"),
    (Rerun("one", "two", 3, child_id="one"), BadRerun, "'one' cannot become a child of its own rerun"),
    (Rerun("one", "t/o", 2), BadId, r"job name is invalid \"t/o\": must not contain '/'"),
    (Rerun("one", "two", 3, child_id="k#d"), BadId, r"job name is invalid \"k#d\": must not contain '/'"),
    (Rerun("one", "one:0003", 1), AlreadyActive, "workflow 'one:0003' has already been created"),
]


def test_bad_reruns_are_refused_in_dapr_s_words(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        await fanned(manager, tasks)

        for wanted, kind, text in REFUSED:
            with pytest.raises(kind, match=text):
                await manager.rerun("app", wanted)
        assert (await manager.listing("app", "", 10))[0] == ["one", "one:0003"]

    run(tmp_path, scenario)


def test_recursive_purge_leaves_the_children_of_the_source(tmp_path: Path) -> None:
    async def scenario(manager: Manager, tasks: Tasks) -> None:
        await fanned(manager, tasks)
        await again(manager, Rerun("one", "late", 4))
        await again(manager, Rerun("one", "early", 1))

        assert [await manager.purge("app", each, recursive=True) for each in ("late", "early")] == [1, 2]
        assert (await manager.listing("app", "", 10))[0] == ["one", "one:0003"]

    run(tmp_path, scenario)
