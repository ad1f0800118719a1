"""WorkflowAccessPolicy between the apps of one daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edge.blocks.workflow import wire
from edge.blocks.workflow.access import ACTIVITY, DENIED, SCHEDULE, WORKFLOW, Access, PurgeDenied, access_of, glob
from edge.blocks.workflow.engine import Engine
from edge.blocks.workflow.manager import Manager
from edge.config.resources import Other
from edge.database import Database
from edge.tasks import Tasks
from tests.unit.edge.blocks.test_workflow import A, complete, events, schedule, work

ALL = ["schedule", "terminate", "raise", "pause", "resume", "purge", "get", "rerun"]


def policy(*rules: Any, scopes: tuple[str, ...] = ("kitchen",), name: str = "p") -> Other:
    return Other("WorkflowAccessPolicy", name, scopes=scopes, spec={"rules": list(rules)})


def rule(*callers: str, workflows: Any = (), activities: Any = ()) -> dict[str, Any]:
    return {
        "callers": [{"appID": caller} for caller in callers],
        "workflows": [{"name": name, "operations": operations} for name, operations in workflows],
        "activities": [{"name": name} for name in activities],
    }


GRANTED = access_of([policy(rule("shop", workflows=[("bake*", ["schedule"])], activities=["mix"]))])


@pytest.mark.parametrize(
    ("caller", "target", "kind", "operation", "name", "allowed"),
    [
        ("shop", "kitchen", WORKFLOW, "schedule", "bake-bread", True),
        ("shop", "kitchen", WORKFLOW, "terminate", "bake-bread", False),
        ("shop", "kitchen", WORKFLOW, "schedule", "fry", False),
        ("shop", "kitchen", ACTIVITY, SCHEDULE, "mix", True),
        ("shop", "kitchen", ACTIVITY, SCHEDULE, "bake-bread", False),
        ("thief", "kitchen", WORKFLOW, "schedule", "bake-bread", False),
        ("kitchen", "kitchen", WORKFLOW, "purge", "fry", True),
        ("thief", "shop", WORKFLOW, "schedule", "sell", True),
    ],
)
def test_what_is_not_granted_is_denied(caller: str, target: str, kind: str, operation: str, name: str, allowed: bool) -> None:
    assert GRANTED.allows(caller, target, kind, operation, name) is allowed


def test_no_policy_allows_all_and_one_without_rules_nothing() -> None:
    assert Access().allows("a", "b", WORKFLOW, SCHEDULE, "w")
    assert not access_of([policy(scopes=())]).allows("a", "b", WORKFLOW, SCHEDULE, "w")


@pytest.mark.parametrize(
    "wrong",
    [
        {"workflows": [{"name": "w", "operations": ALL}]},
        rule("shop"),
        rule("shop", workflows=[("w", [])]),
        rule("shop", workflows=[("w", ["fly"])]),
        rule("shop", workflows=[("[", ALL)]),
        rule("", activities=["a"]),
        rule("shop", activities=[""]),
    ],
)
def test_bad_policy_is_left_out_with_a_warning(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert access_of([policy(wrong, name="typo")]) == Access([])
    assert 'WorkflowAccessPolicy "typo" failed validation, skipping' in caplog.text


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a*c", "abbc", "ab/c"),
        ("a?c", "abc", "a/c"),
        ("[a-c]x", "bx", "dx"),
        ("[^a-c]x", "dx", "bx"),
        ("a\\*", "a*", "ab"),
        ("a.c", "a.c", "abc"),
        ("[\\]]", "]", "\\"),
    ],
)
def test_names_match_as_paths_do_in_go(pattern: str, yes: str, no: str) -> None:
    assert glob(pattern).fullmatch(yes)
    assert not glob(pattern).fullmatch(no)


def elsewhere(request: Any) -> list[Any]:
    """An activity and a child of the kitchen's; the answer is how both ended."""
    if events(request, "executionStarted")[0].name == "bake":
        return [complete(1, "bread")]
    failed = [*events(request, "taskFailed"), *events(request, "childWorkflowInstanceFailed")]
    done = [*events(request, "taskCompleted"), *events(request, "childWorkflowInstanceCompleted")]
    if not events(request, "taskScheduled"):
        router = wire.orchestration.TaskRouter(sourceAppID="shop", targetAppID="kitchen")
        activity = schedule(1, "mix")
        activity.router.CopyFrom(router)
        child = A.WorkflowAction(id=2, router=router, createChildWorkflow=A.CreateChildWorkflowAction(name="bake"))
        return [activity, child]
    if len(failed) + len(done) < 2:
        return []
    return [complete(3, ",".join(sorted([each.failureDetails.errorType for each in failed] + ["done"] * len(done))))]


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        ([rule("other", activities=["mix"])], f"{DENIED},{DENIED}"),
        ([rule("shop", activities=["mix"])], f"{DENIED},done"),
        ([rule("shop", workflows=[("*", ["schedule"])])], f"{DENIED},done"),
        ([rule("shop", workflows=[("*", ["schedule"])], activities=["*"])], "done,done"),
    ],
)
def test_denied_work_fails_in_the_workflow_that_asked_for_it(tmp_path: Path, grants: list[Any], expected: str) -> None:
    async def main() -> None:
        async with Database.open(tmp_path / "edged.db") as database, Tasks("test") as tasks, asyncio.timeout(15):
            manager = Manager(Engine(database, tasks, access=access_of([policy(*grants)])))
            work(manager, tasks, elsewhere, app="shop")
            kitchen = work(manager, tasks, elsewhere, app="kitchen")

            await manager.start("shop", "one", "order")
            await manager.wait_ended("shop", "one")

            assert (await manager.state("shop", "one")).output.value == expected
            assert len(kitchen.turns) + len(kitchen.activities) == expected.count("done")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("operations", "purged"), [(["schedule"], False), (["schedule", "purge"], True), (["purge"], True), (["terminate"], False)]
)
def test_recursive_purge_removes_nothing_where_a_child_may_not_be_purged(tmp_path: Path, operations: list[str], purged: bool) -> None:
    async def main() -> None:
        async with Database.open(tmp_path / "edged.db") as database, Tasks("test") as tasks, asyncio.timeout(15):
            grants = rule("shop", workflows=[("*", operations)], activities=["*"])
            manager = Manager(Engine(database, tasks, access=access_of([policy(grants)])))
            work(manager, tasks, elsewhere, app="shop")
            work(manager, tasks, elsewhere, app="kitchen")
            await manager.start("shop", "one", "order")
            await manager.wait_ended("shop", "one")

            if purged:
                assert await manager.purge("shop", "one", recursive=True) == 1 + ("schedule" in operations)
            else:
                with pytest.raises(PurgeDenied, match="app 'shop' cannot invoke method 'RecursivePurgeWorkflowState'"):
                    await manager.purge("shop", "one", recursive=True)
                assert await manager.purge("shop", "one", recursive=False) == 1

    asyncio.run(main())
