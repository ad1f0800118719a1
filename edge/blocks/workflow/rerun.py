"""An instance that ended is done again from one of its events: what ended before is copied, what had not is started once more.

Source: dapr pkg/actors/targets/workflow/orchestrator/fork/fork.go, rerun.go @1.18.3. Differs: the copied events keep their order, and a
timer that had fired does not fire again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from edge.blocks.workflow import store, turn, wire
from edge.record import record

STARTS = ("taskScheduled", "timerCreated", "childWorkflowInstanceCreated")
ENDS = {  # kind → the field that names the event it ends
    "taskCompleted": "taskScheduledId",
    "taskFailed": "taskScheduledId",
    "timerFired": "timerId",
    "childWorkflowInstanceCompleted": "taskScheduledId",
    "childWorkflowInstanceFailed": "taskScheduledId",
}


class NoSuchEvent(Exception):
    """The history has no event with that id, or one that starts nothing."""


class BadRerun(Exception):
    """The instance or the event can't be done again like this."""


@record
class Rerun:
    """source, new_id: of the instances. data: the new input, where `overwrite` is set. child_id: of the child that is started again."""

    source: str
    new_id: str
    event_id: int
    overwrite: bool = False
    data: str | None = None
    child_id: str | None = None


@record
class Forked:
    """history: of the new instance, in order. again: those of it that are started once more."""

    history: Sequence[Any]
    again: Sequence[Any]

    def insert(self, tx: Any, app: str, instance_id: str) -> tuple[turn.Turn, store.Changes]:
        """Make the instance; what its events set going, to be committed like a turn's."""
        number = store.create(tx, app, instance_id, store.PENDING, int(time.time() * 1000))
        head = store.by_number(tx, number)
        assert head is not None
        given = turn.Turn(head, [], [_nameless(event) for event in self.history], [])
        changes = store.Changes(status=wire.RUNNING, history=[e.SerializeToString() for e in self.history], name=given.name)
        for event in self.again:
            turn.start(given, event, changes)
        return given, changes


def fork(events: Sequence[Any], wanted: Rerun) -> Forked:
    """Raises NoSuchEvent, BadRerun."""
    at = next((index for index, event in enumerate(events) if event.eventId == wanted.event_id), -1)
    if at < 0:
        raise NoSuchEvent(f"does not have history event with ID '{wanted.event_id}'")
    target, before = events[at], events[:at]
    _check(target, wanted)
    ended = {(_starter(kind), getattr(getattr(event, kind), ENDS[kind])) for event in before if (kind := _kind(event)) in ENDS}
    again = [event for event in before if (kind := _kind(event)) in STARTS and (kind, event.eventId) not in ended]
    for event in again:
        _renew(event, wanted)
    _renew(target, wanted)
    _aim(target, wanted)
    return Forked([*before, target], [*again, target])


def _nameless(event: Any) -> Any:
    """The execution that began the history was the source's: a child that is started again must not take it for its parent's."""
    if not event.HasField("executionStarted"):
        return event
    copy = wire.HistoryEvent.FromString(event.SerializeToString())
    copy.executionStarted.workflowInstance.ClearField("executionId")
    return copy


def _kind(event: Any) -> str:
    return event.WhichOneof("eventType") or ""


def _starter(kind: str) -> str:
    """The kind of the events that this one ends."""
    return STARTS[0] if kind.startswith("task") else STARTS[1] if kind.startswith("timer") else STARTS[2]


def _check(target: Any, wanted: Rerun) -> None:
    kind, number = _kind(target), wanted.event_id
    if kind not in STARTS:
        name = f"*protos.HistoryEvent_{kind[:1].upper()}{kind[1:]}"
        raise NoSuchEvent(f"target event '{name}' with ID '{number}' is not an event that can be rerun")
    if kind == "timerCreated" and wanted.overwrite:
        raise BadRerun(f"cannot write input to timer event '{number}'")
    if kind != "childWorkflowInstanceCreated" and wanted.child_id is not None:
        what = "timer" if kind == "timerCreated" else "activity"
        raise BadRerun(f"cannot set new child workflow instance ID on {what} event '{number}'")


def _renew(event: Any, wanted: Rerun) -> None:
    event.timestamp.CopyFrom(wire.now())
    if _kind(event) == "childWorkflowInstanceCreated":
        event.childWorkflowInstanceCreated.instanceId = turn.child_id_of(wanted.new_id, event.eventId)


def _aim(target: Any, wanted: Rerun) -> None:
    """The event itself says whose it was; it may get another input, a child another id."""
    kind = _kind(target)
    body = getattr(target, kind)
    body.rerunParentInstanceInfo.instanceID = wanted.source
    if wanted.overwrite:
        body.ClearField("input")
        if wanted.data is not None:
            body.input.value = wanted.data
    if wanted.child_id is not None:
        body.instanceId = wanted.child_id
