"""What clients do with workflow instances, in durabletask's terms: start, look, wait, raise, suspend, resume, terminate, purge, rerun.

Raises only the errors below; a front words them for its protocol.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from edge.blocks.workflow import store, turn, wire
from edge.blocks.workflow.engine import Engine


class NoSuchInstance(Exception):
    """There is no instance of that id."""

    def __init__(self) -> None:
        super().__init__("no such instance exists")


class AlreadyActive(Exception):
    """The id belongs to an instance that has not ended (or whose child has not)."""


class NotEnded(Exception):
    """Only an ended instance can be purged."""

    def __init__(self) -> None:
        super().__init__("orchestration has not yet completed")


class NoSuchEvent(Exception):
    """The history has no event with that id."""


class BadRerun(Exception):
    """The event can't be the start of a rerun."""


def encode_event(**kind: Any) -> bytes:
    encoded: bytes = wire.event(**kind).SerializeToString()
    return encoded


class Manager:
    """Instances of all apps; the app's id is the first argument."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def start(self, app: str, instance_id: str, name: str, *, start: Any = None, **fields: Any) -> str:
        """Store a new instance; its id. start: Timestamp of the earliest moment. fields: of ExecutionStartedEvent (input, version…)."""
        await self.engine.open()
        began = wire.history.ExecutionStartedEvent(name=name, **{k: v for k, v in fields.items() if v is not None})
        began.workflowInstance.instanceId = instance_id
        began.workflowInstance.executionId.value = str(uuid.uuid4())
        if start is not None:
            began.scheduledStartTimestamp.CopyFrom(start)
        first = wire.event(executionStarted=began, router=wire.orchestration.TaskRouter(sourceAppID=app)).SerializeToString()
        now_ms = int(time.time() * 1000)
        due_ms = wire.millis(start) if start is not None else 0

        def unit(tx: Any) -> int:
            refuse_active(tx, app, instance_id)
            number = store.create(tx, app, instance_id, store.PENDING, now_ms)
            if due_ms > now_ms:
                store.put_timer(tx, number, due_ms, store.START, first)
            else:
                store.put(tx, number, first)
            return number

        self.engine.created(app, instance_id, await self.engine.database.write(unit))
        return instance_id

    async def head(self, app: str, instance_id: str) -> store.Instance | None:
        await self.engine.open()
        return self.engine.database.view(lambda tx: store.instance(tx, app, instance_id))

    async def state(self, app: str, instance_id: str, with_data: bool = True) -> Any | None:
        """The WorkflowState, None for an unknown id."""
        await self.engine.open()

        def unit(tx: Any) -> tuple[store.Instance, list[bytes]] | None:
            head = store.instance(tx, app, instance_id)
            return None if head is None else (head, store.history(tx, head.n))

        found = self.engine.database.view(unit)
        if found is None:
            return None
        return turn.state(found[0], [wire.HistoryEvent.FromString(event) for event in found[1]], with_data)

    async def wait(self, app: str, instance_id: str, until: Callable[[int], bool]) -> store.Instance:
        """Wait until the instance is there and its status satisfies `until`; an unknown id is waited for."""
        while True:
            changed = asyncio.ensure_future(self.engine.changed(app, instance_id))
            try:
                await asyncio.sleep(0)
                head = await self.head(app, instance_id)
                if head is not None and until(head.status):
                    return head
                await changed
            finally:
                changed.cancel()

    async def wait_started(self, app: str, instance_id: str) -> None:
        await self.wait(app, instance_id, lambda status: status != wire.PENDING)

    async def wait_ended(self, app: str, instance_id: str) -> None:
        await self.wait(app, instance_id, lambda status: status in wire.TERMINAL)

    async def raise_event(self, app: str, instance_id: str, name: str, data: str | None) -> None:
        """Store an event; an ended instance accepts and ignores it. Raises NoSuchInstance."""
        raised = wire.history.EventRaisedEvent(name=name, input=wire.text(data))
        if await self.engine.raise_in(app, instance_id, wire.event(eventRaised=raised)) is None:
            raise NoSuchInstance

    async def suspend(self, app: str, instance_id: str, reason: str | None, *, wait: bool) -> None:
        """Pause. wait: return when the pause is in the history, else when it is stored. Raises NoSuchInstance."""
        event = wire.event(executionSuspended=wire.history.ExecutionSuspendedEvent(input=wire.text(reason)))
        await self._order(app, instance_id, event, lambda status: not wait or status == wire.SUSPENDED)

    async def resume(self, app: str, instance_id: str, reason: str | None, *, wait: bool) -> None:
        """Go on. wait: as in `suspend`. Raises NoSuchInstance."""
        event = wire.event(executionResumed=wire.history.ExecutionResumedEvent(input=wire.text(reason)))
        await self._order(app, instance_id, event, lambda status: not wait or status == wire.RUNNING)

    async def _order(self, app: str, instance_id: str, event: Any, until: Callable[[int], bool]) -> None:
        head = await self.engine.raise_in(app, instance_id, event)
        if head is None:
            raise NoSuchInstance
        if head.status not in wire.TERMINAL:
            await self.wait(app, instance_id, lambda status: until(status) or status in wire.TERMINAL)

    async def terminate(self, app: str, instance_id: str, output: str | None, recursive: bool, wait: bool) -> None:
        """End an instance; its output becomes `output`. An instance that has not begun begins and ends at once. Raises NoSuchInstance."""
        ended = wire.history.ExecutionTerminatedEvent(input=wire.text(output), recurse=recursive)
        await self.engine.open()

        def unit(tx: Any) -> store.Instance | None:
            store.bring_start(tx, app, instance_id)
            return store.deliver(tx, app, instance_id, encode_event(executionTerminated=ended))

        head = await self.engine.database.write(unit)
        if head is None:
            raise NoSuchInstance
        await self.engine.deliver(app, instance_id)
        if wait and head.status not in wire.TERMINAL:
            await self.wait_ended(app, instance_id)

    async def purge(self, app: str, instance_id: str, recursive: bool, force: bool = False) -> int:
        """Remove an ended instance (with its children); how many. Raises NoSuchInstance, NotEnded."""
        await self.engine.open()

        def unit(tx: Any) -> list[store.Instance]:
            head = store.instance(tx, app, instance_id)
            if head is None:
                raise NoSuchInstance
            if head.status not in wire.TERMINAL and not force:
                raise NotEnded
            return store.drop_tree(tx, head, recursive)

        gone = await self.engine.database.write(unit)
        for head in gone:
            self.engine.forget(head)
        return len(gone)

    async def history(self, app: str, instance_id: str) -> list[Any]:
        """All events. Raises NoSuchInstance."""
        await self.engine.open()

        def unit(tx: Any) -> list[bytes] | None:
            head = store.instance(tx, app, instance_id)
            return None if head is None else store.history(tx, head.n)

        found = self.engine.database.view(unit)
        if found is None:
            raise NoSuchInstance
        return [wire.HistoryEvent.FromString(event) for event in found]

    async def listing(self, app: str, token: str, limit: int) -> tuple[list[str], str]:
        """Ids in the order of creation, a page at a time; the next token, "" after the last page."""
        await self.engine.open()
        after = int(token) if token.isdigit() else 0
        rows = self.engine.database.view(lambda tx: store.listing(tx, app, after, limit + 1))
        page = rows[:limit]
        return [row[1] for row in page], str(page[-1][0]) if len(rows) > limit else ""

    async def rerun(self, app: str, source: str, event_id: int, new_id: str, *, overwrite: bool, data: str | None) -> str:
        """A new instance with the source's history up to `event_id`, done again.

        Raises NoSuchInstance, NoSuchEvent, BadRerun, AlreadyActive.
        """
        events = await self.history(app, source)
        head = await self.head(app, source)
        if head is None or head.status not in wire.TERMINAL:
            raise BadRerun(f"'{source}' is not in a terminal state")
        if head.parent_id is not None:
            raise BadRerun(f"'{source}' is a child workflow; rerun its parent")
        copied, again = _cut(events, event_id)
        number = await self.engine.database.write(lambda tx: _insert_rerun(tx, app, source, new_id, copied, again, overwrite, data))
        self.engine.created(app, new_id, number)
        await self.engine.reload(number)
        return new_id


def refuse_active(tx: Any, app: str, instance_id: str) -> None:
    """Raises AlreadyActive when the id, or a child of its old life, is still at work."""
    head = store.instance(tx, app, instance_id)
    if head is None:
        return
    if head.status not in wire.TERMINAL:
        raise AlreadyActive(f"an active workflow with ID '{instance_id}' already exists")
    if any(child.status not in wire.TERMINAL for child in store.children(tx, app, instance_id)):
        raise AlreadyActive(f"an active workflow with ID '{instance_id}' already exists: a child has not ended")


RERUNNABLE = ("taskScheduled", "timerCreated", "childWorkflowInstanceCreated")


def _cut(events: Sequence[Any], event_id: int) -> tuple[list[Any], Any]:
    for index, event in enumerate(events):
        if event.eventId == event_id and event.WhichOneof("eventType") != "executionCompleted":
            if event.WhichOneof("eventType") not in RERUNNABLE:
                break
            return list(events[:index]), event
    if any(event.eventId == event_id for event in events):
        raise BadRerun(f"target event '{event_id}' is not an event that can be rerun")
    raise NoSuchEvent(f"does not have history event with ID '{event_id}'")


def _insert_rerun(tx: Any, app: str, source: str, new_id: str, copied: list[Any], again: Any, overwrite: bool, data: str | None) -> int:
    if store.instance(tx, app, new_id) is not None:
        raise AlreadyActive(f"workflow '{new_id}' has already been created")
    number = store.create(tx, app, new_id, store.PENDING, int(time.time() * 1000))
    started = next(e.executionStarted for e in copied if e.HasField("executionStarted"))
    head = store.by_number(tx, number)
    assert head is not None
    given = turn.Turn(head, copied, [], [])
    changes = store.Changes(status=wire.RUNNING, history=[e.SerializeToString() for e in copied], name=started.name)
    _repeat(given, again, source, overwrite, data, changes)
    store.commit_turn(tx, number, head.generation, changes)
    return number


def _repeat(given: turn.Turn, again: Any, source: str, overwrite: bool, data: str | None, changes: store.Changes) -> None:
    kind = again.WhichOneof("eventType")
    body = getattr(again, kind)
    body.rerunParentInstanceInfo.instanceID = source
    again.timestamp.CopyFrom(wire.now())
    if overwrite and kind != "timerCreated":
        body.ClearField("input")
        if data is not None:
            body.input.value = data
    changes.history.append(again.SerializeToString())
    if kind == "taskScheduled":
        item = turn.activity_request(given, again.eventId, body)
        target = again.router.targetAppID if again.router.HasField("targetAppID") else given.head.app
        changes.activities.append((again.eventId, target, body.name, item.SerializeToString()))
    elif kind == "timerCreated":
        fired = wire.event(timerFired=wire.history.TimerFiredEvent(fireAt=body.fireAt, timerId=again.eventId))
        changes.timers.append((wire.millis(body.fireAt), fired.SerializeToString()))
    else:
        raise BadRerun("a child workflow can't be rerun by itself; rerun an activity or a timer")
