"""One turn: what a worker answered becomes history events and their effects. Pure: no I/O, no clock but the events' stamps.

Source: the recorded traces of daprd 1.18.3 with the Python, JavaScript and Go SDKs (tests/data/workflow), grpc-api.md §14.2.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge.blocks.workflow import wire
from edge.blocks.workflow.store import Changes, Child, Instance


@dataclass(slots=True)
class Turn:
    """A turn that a worker has: what it was given. rows: inbox row numbers of `new` (without the workflowStarted in front)."""

    head: Instance
    past: list[Any]
    new: list[Any]
    rows: list[int]

    @property
    def started(self) -> Any | None:
        """The executionStarted of this life."""
        return next((e.executionStarted for e in (*self.new, *self.past) if e.HasField("executionStarted")), None)

    @property
    def name(self) -> str:
        """Of the workflow."""
        started = self.started
        return self.head.name if started is None else str(started.name)


def request(turn: Turn) -> Any:
    """The work item's message."""
    item = wire.WorkflowRequest(instanceId=turn.head.id, pastEvents=turn.past, newEvents=turn.new)
    if turn.head.propagated is not None:
        item.propagatedHistory.MergeFromString(turn.head.propagated)
    return item


def apply(turn: Turn, response: Any) -> Changes:
    """What the worker's answer changes."""
    changes = Changes(status=_status_after(turn), inbox_done=turn.rows)
    if response.HasField("customStatus"):
        changes.custom_status = response.customStatus.value
    if response.HasField("version"):
        _note_version(turn, response.version)
    started = turn.started
    changes.name = started.name if started is not None else None
    changes.history = [event.SerializeToString() for event in turn.new]
    terminated = next((e.executionTerminated for e in turn.new if e.HasField("executionTerminated")), None)
    for action in response.actions:
        kind = action.WhichOneof("workflowActionType")
        handler = HANDLERS.get(kind or "")
        if handler is None:
            raise ValueError(f"unknown action type: {kind or 'none'}")
        if kind == "completeWorkflow" and terminated is not None and action.completeWorkflow.workflowStatus == wire.CONTINUED_AS_NEW:
            continue
        if not changes.finished:
            handler(turn, action, changes)
        if changes.reset is not None:
            return changes
    if terminated is not None and not changes.finished:
        _complete(turn, changes, -1, wire.TERMINATED, terminated.input if terminated.HasField("input") else None, None)
    return changes


def _note_version(turn: Turn, version: Any) -> None:
    """Workers repeat all patches in every answer; each is written once, where it was first used. The name is written every time."""
    known = {patch for event in turn.past for patch in event.workflowStarted.version.patches}
    patches = [patch for patch in version.patches if patch not in known]
    if patches or version.HasField("name"):
        noted = turn.new[0].workflowStarted.version
        noted.CopyFrom(version)
        del noted.patches[:]
        noted.patches.extend(patches)


def _status_after(turn: Turn) -> int:
    """Running or suspended, by the last such event."""
    suspended = turn.head.status == wire.SUSPENDED
    for event in turn.new:
        if event.HasField("executionSuspended"):
            suspended = True
        elif event.HasField("executionResumed"):
            suspended = False
    return wire.SUSPENDED if suspended else wire.RUNNING


def _router(turn: Turn, action: Any) -> Any:
    router = wire.orchestration.TaskRouter()
    if action.HasField("router"):
        router.CopyFrom(action.router)
    router.sourceAppID = turn.head.app
    return router


def _target(turn: Turn, router: Any) -> str:
    return str(router.targetAppID) if router.HasField("targetAppID") and router.targetAppID else turn.head.app


def _inner_router(action: Any, inner: Any) -> Any:
    """The SDKs put the router on the action, or on the inner message."""
    return inner if inner.HasField("router") and not action.HasField("router") else action


def _schedule_task(turn: Turn, action: Any, changes: Changes) -> None:
    task = action.scheduleTask
    router = _router(turn, _inner_router(action, task))
    scheduled = wire.history.TaskScheduledEvent(name=task.name, taskExecutionId=task.taskExecutionId)
    for field in ("version", "input"):
        if task.HasField(field):
            getattr(scheduled, field).CopyFrom(getattr(task, field))
    if task.HasField("historyPropagationScope"):
        scheduled.historyPropagationScope = task.historyPropagationScope
    own = turn.started
    if own is not None and own.HasField("parentTraceContext"):
        scheduled.parentTraceContext.CopyFrom(own.parentTraceContext)
    event = wire.event(action.id, taskScheduled=scheduled, router=router)
    changes.history.append(event.SerializeToString())
    start(turn, event, changes)


def start(turn: Turn, event: Any, changes: Changes) -> None:
    """What the event of an activity, a timer or a child (the last of the history, or done again) sets going."""
    match event.WhichOneof("eventType"):
        case "taskScheduled":
            _start_task(turn, event, changes)
        case "timerCreated":
            _start_timer(event, changes)
        case "childWorkflowInstanceCreated":
            _start_child(turn, event, changes)


def _start_task(turn: Turn, event: Any, changes: Changes) -> None:
    scheduled = event.taskScheduled
    item = _activity_request(turn, event.eventId, scheduled)
    if scheduled.historyPropagationScope:
        item.propagatedHistory.CopyFrom(_propagated(turn, changes, scheduled.historyPropagationScope))
    changes.activities.append((event.eventId, _target(turn, event.router), scheduled.name, item.SerializeToString()))


def _activity_request(turn: Turn, task_id: int, scheduled: Any) -> Any:
    """The activity's work item."""
    item = wire.ActivityRequest(
        name=scheduled.name, taskId=task_id, taskExecutionId=scheduled.taskExecutionId, workflowInstance=wire.executionless(turn.head.id)
    )
    for field in ("version", "input"):
        if scheduled.HasField(field):
            getattr(item, field).CopyFrom(getattr(scheduled, field))
    started = turn.started
    if started is not None and started.HasField("parentTraceContext"):
        item.parentTraceContext.CopyFrom(started.parentTraceContext)
    return item


def _propagated(turn: Turn, changes: Changes, scope: int) -> Any:
    """This instance's events up to the one that is being made; with the scope of lineage, what its parents gave it before them."""
    started = turn.started
    given = wire.history.PropagatedHistory()
    if scope == wire.LINEAGE and turn.head.propagated is not None:
        given.MergeFromString(turn.head.propagated)
    chunk = wire.history.PropagatedHistoryChunk(
        rawEvents=[*(e.SerializeToString() for e in turn.past), *changes.history],
        appId=turn.head.app,
        instanceId=turn.head.id,
        workflowName=started.name if started is not None else turn.head.name,
    )
    return wire.history.PropagatedHistory(
        scope=scope,  # type: ignore[arg-type]
        chunks=[*given.chunks, chunk],
    )


def _create_timer(turn: Turn, action: Any, changes: Changes) -> None:
    timer = action.createTimer
    created = wire.history.TimerCreatedEvent(fireAt=timer.fireAt)
    if timer.HasField("name"):
        created.name = timer.name
    if origin := timer.WhichOneof("origin"):
        getattr(created, origin).CopyFrom(getattr(timer, origin))
    event = wire.event(action.id, timerCreated=created, router=_router(turn, action))
    changes.history.append(event.SerializeToString())
    start(turn, event, changes)


def _start_timer(event: Any, changes: Changes) -> None:
    due = event.timerCreated.fireAt
    if due.seconds < wire.FAR_FUTURE:
        fired = wire.event(timerFired=wire.history.TimerFiredEvent(fireAt=due, timerId=event.eventId))
        changes.timers.append((wire.millis(due), fired.SerializeToString()))


def _create_child(turn: Turn, action: Any, changes: Changes) -> None:
    child = action.createChildWorkflow
    router = _router(turn, _inner_router(action, child))
    child_id = child.instanceId or child_id_of(turn.head.id, action.id)
    created = wire.history.ChildWorkflowInstanceCreatedEvent(instanceId=child_id, name=child.name)
    if child.HasField("historyPropagationScope"):
        created.historyPropagationScope = child.historyPropagationScope
    for field in ("version", "input"):
        if child.HasField(field):
            getattr(created, field).CopyFrom(getattr(child, field))
    event = wire.event(action.id, childWorkflowInstanceCreated=created, router=router)
    changes.history.append(event.SerializeToString())
    start(turn, event, changes)


def child_id_of(parent_id: str, event_id: int) -> str:
    """The id of a child that was given none."""
    return f"{parent_id}:{event_id & 0xFFFFFFFF:04x}"


def _start_child(turn: Turn, event: Any, changes: Changes) -> None:
    created = event.childWorkflowInstanceCreated
    started = wire.history.ExecutionStartedEvent(
        name=created.name,
        workflowInstance=wire.orchestration.WorkflowInstance(instanceId=created.instanceId, executionId=wire.text(str(uuid.uuid4()))),
        parentInstance=_parent(turn, event.eventId),
    )
    for field in ("version", "input"):
        if created.HasField(field):
            getattr(started, field).CopyFrom(getattr(created, field))
    own = turn.started
    if own is not None and own.HasField("parentTraceContext"):
        started.parentTraceContext.CopyFrom(own.parentTraceContext)
    first = wire.event(executionStarted=started, router=event.router)
    propagated = None
    if created.historyPropagationScope:
        propagated = _propagated(turn, changes, created.historyPropagationScope).SerializeToString()
    target = _target(turn, event.router)
    changes.children.append(Child(target, created.instanceId, created.name, event.eventId, first.SerializeToString(), propagated))


def _parent(turn: Turn, task_id: int) -> Any:
    started = turn.started
    parent = wire.orchestration.ParentInstanceInfo(
        taskScheduledId=task_id,
        name=wire.text(started.name if started is not None else turn.head.name),
        workflowInstance=wire.orchestration.WorkflowInstance(instanceId=turn.head.id),
        appID=turn.head.app,
    )
    if started is not None and started.workflowInstance.HasField("executionId"):
        parent.workflowInstance.executionId.CopyFrom(started.workflowInstance.executionId)
    return parent


def _send_event(turn: Turn, action: Any, changes: Changes) -> None:
    sent = action.sendEvent
    data = sent.data if sent.HasField("data") else None
    target = sent.instance.instanceId
    record = wire.history.EventSentEvent(instanceId=target, name=sent.name, input=data)
    changes.history.append(wire.event(action.id, eventSent=record, router=_router(turn, action)).SerializeToString())
    raised = wire.event(eventRaised=wire.history.EventRaisedEvent(name=sent.name, input=data))
    changes.messages.append((turn.head.app, target, raised.SerializeToString()))


def _terminate(turn: Turn, action: Any, changes: Changes) -> None:
    order = action.terminateWorkflow
    ended = wire.history.ExecutionTerminatedEvent(input=order.reason if order.HasField("reason") else None, recurse=order.recurse)
    changes.messages.append((turn.head.app, order.instanceId, wire.event(executionTerminated=ended).SerializeToString()))


def _stall(turn: Turn, action: Any, changes: Changes) -> None:
    stalled = wire.history.ExecutionStalledEvent(reason=wire.orchestration.VERSION_NOT_AVAILABLE, description="Version not available")
    changes.history.append(wire.event(executionStalled=stalled).SerializeToString())
    changes.status = wire.STALLED


def _complete_workflow(turn: Turn, action: Any, changes: Changes) -> None:
    end = action.completeWorkflow
    if end.workflowStatus == wire.CONTINUED_AS_NEW:
        _continue_as_new(turn, action, changes)
        return
    result = end.result if end.HasField("result") else None
    failure = end.failureDetails if end.HasField("failureDetails") else None
    _complete(turn, changes, action.id, end.workflowStatus, result, failure)


def _complete(turn: Turn, changes: Changes, event_id: int, status: int, result: Any, failure: Any) -> None:
    completed = wire.history.ExecutionCompletedEvent(
        workflowStatus=status,  # type: ignore[arg-type]
        result=result,
        failureDetails=failure,
    )
    router = wire.orchestration.TaskRouter(sourceAppID=turn.head.app)
    changes.history.append(wire.event(event_id, executionCompleted=completed, router=router).SerializeToString())
    changes.status, changes.finished = status, True
    if turn.head.parent_id is not None and turn.head.parent_app is not None:
        told = _for_parent(turn, status, result, failure)
        changes.messages.append((turn.head.parent_app, turn.head.parent_id, told.SerializeToString()))


def _for_parent(turn: Turn, status: int, result: Any, failure: Any) -> Any:
    task, router = turn.head.parent_task or 0, wire.orchestration.TaskRouter(sourceAppID=turn.head.app, targetAppID=turn.head.parent_app)
    if status == wire.COMPLETED:
        ended = wire.history.ChildWorkflowInstanceCompletedEvent(taskScheduledId=task, result=result)
        return wire.event(childWorkflowInstanceCompleted=ended, router=router)
    if failure is None:
        words = "terminated" if status == wire.TERMINATED else "canceled"
        failure = wire.orchestration.TaskFailureDetails(errorType="WorkflowTerminated", errorMessage=f"child workflow was {words}")
    failed = wire.history.ChildWorkflowInstanceFailedEvent(taskScheduledId=task, failureDetails=failure)
    return wire.event(childWorkflowInstanceFailed=failed, router=router)


def _continue_as_new(turn: Turn, action: Any, changes: Changes) -> None:
    end, old = action.completeWorkflow, turn.started
    started = wire.history.ExecutionStartedEvent()
    if old is not None:
        started.CopyFrom(old)
    started.ClearField("input")
    started.ClearField("scheduledStartTimestamp")
    if end.HasField("result"):
        started.input.CopyFrom(end.result)
    if end.HasField("newVersion"):
        started.version.CopyFrom(end.newVersion)
    started.workflowInstance.instanceId = turn.head.id
    started.workflowInstance.executionId.value = str(uuid.uuid4())
    first = wire.event(executionStarted=started, router=wire.orchestration.TaskRouter(sourceAppID=turn.head.app))
    carried = []
    for event in end.carryoverEvents:
        event.timestamp.CopyFrom(first.timestamp) if not event.HasField("timestamp") else None
        carried.append(event.SerializeToString())
    changes.reset = [first.SerializeToString(), *carried]
    changes.status = wire.RUNNING


HANDLERS: dict[str, Callable[[Turn, Any, Changes], None]] = {
    "scheduleTask": _schedule_task,
    "createTimer": _create_timer,
    "createChildWorkflow": _create_child,
    "sendEvent": _send_event,
    "terminateWorkflow": _terminate,
    "completeWorkflow": _complete_workflow,
    "workflowVersionNotAvailable": _stall,
}


def state(head: Instance, events: Sequence[Any], with_data: bool = True) -> Any:
    """The WorkflowState that clients ask for, from a head and its history (empty history: scheduled, not begun)."""
    answer = wire.WorkflowState(instanceId=head.id, workflowStatus=head.status)  # type: ignore[arg-type]
    answer.createdTimestamp.seconds = answer.lastUpdatedTimestamp.seconds = ZERO_TIME
    if not events:
        return answer
    answer.lastUpdatedTimestamp.CopyFrom(events[-1].timestamp)
    for event in events:
        kind = event.WhichOneof("eventType")
        if kind == "executionStarted":
            _describe_start(answer, event, with_data)
        elif kind == "workflowStarted":
            if not answer.HasField("startedAt"):
                answer.startedAt.CopyFrom(event.timestamp)
            if event.workflowStarted.HasField("version") and event.workflowStarted.version.HasField("name"):
                answer.version.value = event.workflowStarted.version.name
        elif kind == "executionCompleted":
            if with_data and event.executionCompleted.HasField("result"):
                answer.output.CopyFrom(event.executionCompleted.result)
            if with_data and event.executionCompleted.HasField("failureDetails"):
                answer.failureDetails.CopyFrom(event.executionCompleted.failureDetails)
    if with_data and head.custom_status is not None:
        answer.customStatus.value = head.custom_status
    return answer


ZERO_TIME = -62135596800  # 0001-01-01T00:00:00Z, what daprd says of an instance that has not begun


def _describe_start(answer: Any, event: Any, with_data: bool) -> None:
    started = event.executionStarted
    answer.name = started.name
    answer.createdTimestamp.CopyFrom(event.timestamp)
    if with_data and started.HasField("input"):
        answer.input.CopyFrom(started.input)
