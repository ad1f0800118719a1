"""Of what a turn starts, that which can't be: denied by a policy, or under an id that is taken. It fails before it begins."""

from __future__ import annotations

from typing import Any

from edge.blocks.workflow import store, turn, wire
from edge.blocks.workflow.access import ACTIVITY, DENIED, DENIED_TEXT, SCHEDULE, WORKFLOW, Access


def refuse(access: Access, tx: Any, given: turn.Turn, changes: store.Changes) -> None:
    """Take it out of `changes`; the instance is told instead. A child may begin anew under the id of one that ended."""
    own = given.head.app
    children, activities = changes.children, changes.activities
    changes.children, changes.activities = [], []
    for child in children:
        details = _against(access, tx, own, child)
        if details is None:
            changes.children.append(child)
            continue
        failed = wire.history.ChildWorkflowInstanceFailedEvent(taskScheduledId=child.task, failureDetails=details)
        changes.messages.append((own, given.head.id, wire.event(childWorkflowInstanceFailed=failed).SerializeToString()))
    for activity in activities:
        task, target, name, _ = activity
        if access.allows(own, target, ACTIVITY, SCHEDULE, name):
            changes.activities.append(activity)
            continue
        denied = wire.history.TaskFailedEvent(taskScheduledId=task, failureDetails=_failure(DENIED, DENIED_TEXT))
        changes.messages.append((own, given.head.id, wire.event(taskFailed=denied).SerializeToString()))


def _against(access: Access, tx: Any, own: str, child: store.Child) -> Any | None:
    if not access.allows(own, child.app, WORKFLOW, SCHEDULE, child.name):
        return _failure(DENIED, DENIED_TEXT)
    head = store.instance(tx, child.app, child.id)
    if head is None or head.status in store.ENDED:
        return None
    return _failure("WorkflowInstanceAlreadyExists", f"an active workflow with ID '{child.id}' already exists")


def _failure(kind: str, text: str) -> Any:
    return wire.orchestration.TaskFailureDetails(errorType=kind, errorMessage=text)
