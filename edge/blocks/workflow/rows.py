"""What the engine reads from the rows and writes as events: a turn to hand out, an activity's end, timers that are due."""

from __future__ import annotations

from typing import Any

from edge.blocks.workflow import store, turn, wire


def load_turn(tx: Any, number: int) -> turn.Turn | None:
    """The next turn of an instance, None when there is nothing for it to do."""
    head = store.by_number(tx, number)
    rows = store.inbox(tx, number) if head is not None else []
    if head is None or not rows or head.status in store.ENDED:
        return None
    past = [wire.HistoryEvent.FromString(event) for event in store.history(tx, number)]
    new = [wire.HistoryEvent.FromString(event) for _, event in rows]
    if not past and not any(event.HasField("executionStarted") for event in new):
        return None
    first = wire.event(workflowStarted=wire.history.WorkflowStartedEvent())
    if head.generation > 1 and not past:
        first.router.sourceAppID = head.app
    return turn.Turn(head, past, [first, *new], [row for row, _ in rows])


def activity_event(tx: Any, head: store.Instance, response: Any) -> Any:
    """The history event of a worker's answer to an activity."""
    scheduled = next(
        (
            event
            for event in map(wire.HistoryEvent.FromString, store.history(tx, head.n))
            if event.HasField("taskScheduled") and event.eventId == response.taskId
        ),
        None,
    )
    execution = scheduled.taskScheduled.taskExecutionId if scheduled is not None else ""
    if response.HasField("failureDetails"):
        failed = wire.history.TaskFailedEvent(
            taskScheduledId=response.taskId, failureDetails=response.failureDetails, taskExecutionId=execution
        )
        event = wire.event(taskFailed=failed)
    else:
        result = response.result if response.HasField("result") else None
        event = wire.event(
            taskCompleted=wire.history.TaskCompletedEvent(taskScheduledId=response.taskId, result=result, taskExecutionId=execution)
        )
    if scheduled is not None and scheduled.HasField("router"):
        event.router.CopyFrom(scheduled.router)
    return event


def fire(tx: Any, now_ms: int) -> list[tuple[store.Instance, str]]:
    """Move what is due; heads and kinds. What was to be purged is gone on return."""
    found = []
    for number, kind in store.fire_due(tx, now_ms):
        head = store.by_number(tx, number)
        if head is None:
            continue
        if kind == store.PURGE:
            store.drop(tx, head.app, head.id)
        found.append((head, kind))
    return found
