"""What clients do with workflow instances, in durabletask's terms: start, look, wait, raise, suspend, resume, terminate, purge, rerun.

Raises only the errors below; a front words them for its protocol.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

from edge.blocks.names import check_job
from edge.blocks.workflow import store, turn, wire
from edge.blocks.workflow.access import PURGE, WORKFLOW, PurgeDenied
from edge.blocks.workflow.engine import Engine
from edge.blocks.workflow.rerun import BadRerun, Rerun, fork


class NoSuchInstance(Exception):
    """There is no instance of that id."""

    def __init__(self) -> None:
        super().__init__("no such instance exists")


class AlreadyActive(Exception):
    """The id belongs to an instance that has not ended (or whose child has not)."""


class NotBegun(NoSuchInstance):
    """It has no history yet: a recursive purge, which reads that first, finds none."""


class NotEnded(Exception):
    """Only an ended instance can be purged."""

    def __init__(self) -> None:
        super().__init__("orchestration has not yet completed")


class BadId(Exception):
    """The id could be no part of a job's name: too long, or letters that none may have."""


def check_id(instance_id: str) -> None:
    """Raises BadId."""
    try:
        check_job(instance_id)
    except ValueError as error:
        raise BadId(f"rpc error: code = Unknown desc = {error}") from None


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
        head = await self.engine.raise_in(app, instance_id, wire.event(executionTerminated=ended))
        if head is None:
            raise NoSuchInstance
        if wait and head.status not in wire.TERMINAL:
            await self.wait_ended(app, instance_id)

    async def purge(self, app: str, instance_id: str, recursive: bool, force: bool = False) -> int:
        """Remove an ended instance (force: any), with its own children if asked; how many.

        Raises NoSuchInstance, NotBegun, NotEnded, PurgeDenied.
        """
        await self.engine.open()

        def unit(tx: Any) -> list[store.Instance]:
            head = store.instance(tx, app, instance_id)
            if head is None:
                raise NoSuchInstance
            if head.status not in wire.TERMINAL and not force:
                raise NotBegun if recursive and head.status == wire.PENDING else NotEnded
            return store.drop_tree(tx, head, recursive, self._check_purge)

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

    def _check_purge(self, tx: Any, parent: store.Instance) -> None:
        """By the children of the history: one whose start was denied counts too."""
        events = store.history(tx, parent.n) if self.engine.access.policies else ()
        for event in map(wire.HistoryEvent.FromString, events):
            target, name = event.router.targetAppID or parent.app, event.childWorkflowInstanceCreated.name
            if event.HasField("childWorkflowInstanceCreated") and not self.engine.access.allows(parent.app, target, WORKFLOW, PURGE, name):
                raise PurgeDenied(parent.app)

    async def rerun(self, app: str, wanted: Rerun) -> str:
        """A new instance with the source's history up to an event, from which all is done again.

        Raises NoSuchInstance, NoSuchEvent, BadRerun, BadId, AlreadyActive.
        """
        source, new_id = wanted.source, wanted.new_id
        if not source:
            raise BadRerun("rerun workflow source instance ID is required")
        if source == new_id:
            raise BadRerun("rerun workflow instance ID must be different from the original instance ID")
        events = await self.history(app, source)
        head = await self.head(app, source)
        if head is None or head.status not in wire.TERMINAL:
            raise BadRerun(f"'{source}' is not in a terminal state")
        if head.parent_id is not None:
            raise BadRerun(f"'{source}': cannot rerun from child-workflows")
        if wanted.child_id == source:
            raise BadRerun(f"'{source}' cannot become a child of its own rerun: choose another new child workflow instance ID")
        forked = fork(events, wanted)
        check_id(new_id)
        check_id(wanted.child_id or "")

        def insert(tx: Any) -> tuple[turn.Turn, store.Changes]:
            if store.instance(tx, app, new_id) is not None:
                raise AlreadyActive(f"workflow '{new_id}' has already been created")
            return forked.insert(tx, app, new_id)

        await self.engine.insert(insert)
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
