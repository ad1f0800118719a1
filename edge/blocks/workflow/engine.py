"""The engine: hands turns and activities to the apps' workers, takes their results, keeps timers. What must survive is in the store.

At most one turn of an instance is in flight. A worker that goes away gives its items back after `REDISPATCH` seconds. Nothing
is kept in memory for an instance that waits.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from edge.blocks.workflow import measured, store, turn, wire
from edge.blocks.workflow.access import TERMINATE, WORKFLOW, Access
from edge.blocks.workflow.limits import Limits
from edge.blocks.workflow.refused import refuse
from edge.blocks.workflow.rows import activity_event, fire, load_turn
from edge.database import Database
from edge.tasks import Tasks

log = logging.getLogger("dapr.runtime.wfengine")
REDISPATCH = 2.0
CONTINUE_LIMIT = 20
LONGEST_SLEEP, LONGEST_WAIT = 3600.0, 5.0


class Worker:
    """One GetWorkItems stream of an app. Items wait in its queue until the stream takes them."""

    def __init__(self, app: str) -> None:
        self.app = app
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.turns: set[int] = set()
        self.activities: set[int] = set()

    def load(self) -> int:
        return len(self.turns) + len(self.activities)


@dataclass(slots=True)
class _Activity:
    row: int
    number: int
    task: int
    instance_id: str
    name: str
    worker: Worker
    began: float


class Engine:
    """Workflows of all apps of the daemon."""

    def __init__(
        self,
        database: Database,
        tasks: Tasks,
        limits: Limits | None = None,
        metrics_of: measured.MetricsOf = measured.none,
        access: Access | None = None,
    ) -> None:
        """access: which apps may start whose workflows and activities."""
        self.access = access or Access()
        self.database, self._tasks = database, tasks
        self._limits = limits or Limits()
        self._metrics_of = metrics_of
        self._workers: dict[str, list[Worker]] = {}
        self._ready: dict[str, dict[int, None]] = {}
        self._turns: dict[int, tuple[turn.Turn, Worker]] = {}
        self._by_id: dict[tuple[str, str], int] = {}
        self._activities: dict[tuple[str, str, int], _Activity] = {}
        self._waiting_activities: dict[str, collections.deque[tuple[int, int, int, bytes]]] = {}
        self._known_activities: set[int] = set()
        self._watchers: dict[tuple[str, str], list[asyncio.Future[None]]] = {}
        self._wake_timer = asyncio.Event()
        self._committing: set[int] = set()
        self._opened = False
        self._opening = asyncio.Lock()
        self.on_workers: Callable[[str, int], None] = lambda app, count: None

    async def open(self) -> None:
        """Make the tables, find what waits, start the timer. Called at the first use, so an unused engine costs nothing."""
        if self._opened:
            return
        async with self._opening:
            if not self._opened:
                await self._open()
                self._opened = True

    async def _open(self) -> None:
        await self.database.migrate("workflow", store.MIGRATIONS)
        ready, activities = self.database.view(lambda tx: (store.ready(tx), store.activities(tx)))
        for number, app in ready:
            self._ready.setdefault(app, {})[number] = None
        self._queue_activities(activities)
        self._tasks.spawn("workflow timers", self._run_timers)

    # --- workers
    async def work_items(self, app: str) -> AsyncIterator[Any]:
        """The items of one worker stream, until it is closed."""
        await self.open()
        worker = Worker(app)
        self._workers.setdefault(app, []).append(worker)
        self.on_workers(app, len(self._workers[app]))
        self._dispatch(app)
        try:
            while True:
                yield await worker.queue.get()
        finally:
            self._workers[app].remove(worker)
            self.on_workers(app, len(self._workers[app]))
            self._give_back(worker)

    def workers(self, app: str) -> int:
        """Connected worker streams."""
        return len(self._workers.get(app, ()))

    def _give_back(self, worker: Worker) -> None:
        lost = [number for number, (_, owner) in self._turns.items() if owner is worker]
        for number in lost:
            given, _ = self._turns.pop(number)
            self._by_id.pop((given.head.app, given.head.id), None)
        activities = [activity for activity in self._activities.values() if activity.worker is worker]
        for activity in activities:
            del self._activities[(worker.app, activity.instance_id, activity.task)]
        if lost or activities:
            loop = asyncio.get_running_loop()
            loop.call_later(REDISPATCH, self._again, worker.app, lost, [a.row for a in activities])

    def _again(self, app: str, numbers: list[int], rows: list[int]) -> None:
        for number in numbers:
            self._ready.setdefault(app, {})[number] = None
        if rows:
            self._known_activities.difference_update(rows)
            self._tasks.start("workflow activities again", self._reload_activities(rows))
        self._dispatch(app)

    async def _reload_activities(self, rows: list[int]) -> None:
        found = self.database.view(lambda tx: [a for a in store.activities(tx, min(rows) - 1) if a[0] in set(rows)])
        self._queue_activities(found)

    def _queue_activities(self, rows: list[tuple[int, int, int, str, bytes]]) -> None:
        apps = set()
        for row, number, task, target, item in rows:
            if row not in self._known_activities:
                self._known_activities.add(row)
                self._waiting_activities.setdefault(target, collections.deque()).append((row, number, task, item))
                apps.add(target)
        for app in apps:
            self._dispatch(app)

    def _least_loaded(self, app: str) -> Worker | None:
        workers = self._workers.get(app)
        return min(workers, key=Worker.load) if workers else None

    def _dispatch(self, app: str) -> None:
        """Hand out what can be handed out to this app's workers."""
        if not self._workers.get(app):
            return
        self._hand_out_activities(app)
        self._hand_out_turns(app)

    def _hand_out_activities(self, app: str) -> None:
        waiting = self._waiting_activities.get(app)
        held: list[tuple[int, int, int, bytes]] = []
        while waiting and (worker := self._least_loaded(app)):
            if self._limits.activities and sum(len(w.activities) for w in self._workers[app]) >= self._limits.activities:
                break
            one = waiting.popleft()
            if not self._send_activity(worker, *one):
                held.append(one)
        if held and waiting is not None:
            waiting.extendleft(reversed(held))

    def _hand_out_turns(self, app: str) -> None:
        ready = self._ready.get(app, {})
        for number in tuple(ready):
            if self._limits.workflows and sum(len(w.turns) for w in self._workers[app]) >= self._limits.workflows:
                break
            if number not in self._turns and number not in self._committing and self._send_turn(app, number):
                del ready[number]

    def _send_activity(self, worker: Worker, row: int, number: int, task: int, item: bytes) -> bool:
        """False when as many of its name are at work as may be."""
        request = wire.ActivityRequest.FromString(item)
        limit = self._limits.named_activities.get(request.name, 0)
        if limit and sum(a.name == request.name and a.worker.app == worker.app for a in self._activities.values()) >= limit:
            return False
        instance_id = request.workflowInstance.instanceId
        self._activities[(worker.app, instance_id, task)] = _Activity(
            row, number, task, instance_id, request.name, worker, time.perf_counter()
        )
        worker.activities.add(row)
        worker.queue.put_nowait(wire.WorkItem(activityRequest=request))
        return True

    def _send_turn(self, app: str, number: int) -> bool:
        """False when as many of its name are at work as may be."""
        given = self.database.view(lambda tx: load_turn(tx, number))
        worker = self._least_loaded(app)
        if given is None or worker is None:
            return True
        limit = self._limits.named_workflows.get(given.name, 0)
        if limit and sum(t.name == given.name and t.head.app == app for t, _ in self._turns.values()) >= limit:
            return False
        self._turns[number] = (given, worker)
        self._by_id[(app, given.head.id)] = number
        worker.turns.add(number)
        item = turn.request(given)
        measured.begun(self._metrics_of(app), given, item)
        worker.queue.put_nowait(wire.WorkItem(workflowRequest=item))
        return True

    # --- results
    async def complete_turn(self, app: str, response: Any) -> None:
        """A worker's answer to a turn; one that nobody waits for is dropped, as Dapr does."""
        number = self._by_id.pop((app, response.instanceId), None)
        if number is None:
            return
        given, worker = self._turns.pop(number)
        worker.turns.discard(number)
        self._committing.add(number)
        try:
            changes = await self._commit(given, response)
        except ValueError as error:
            log.error("workflow %s of %s: %s; the turn is tried again", given.head.id, app, error)
            asyncio.get_running_loop().call_later(1.0, self._again, app, [number], [])
            return
        finally:
            self._committing.discard(number)
        if changes is None:
            self._mark_ready(app, number)
            return
        await self._after_turn(given, changes)

    async def _commit(self, given: turn.Turn, response: Any) -> store.Changes | None:
        changes = turn.apply(given, response)
        if changes.finished and (keep := self._limits.retention.get(changes.status)) is not None:
            changes.purge_at_ms = int((time.time() + keep) * 1000)
        number, generation = given.head.n, given.head.generation

        def unit(tx: Any) -> bool:
            refuse(self.access, tx, given, changes)
            return store.commit_turn(tx, number, generation, changes)

        return changes if await self.database.write(unit) else None

    async def _after_turn(self, given: turn.Turn, changes: store.Changes) -> None:
        head = given.head
        if changes.activities:
            measured.scheduled(self._metrics_of(head.app), given, changes.activities)
            await self.reload(head.n)
        for child in changes.children:
            await self.deliver(child.app, child.id)
        for app, instance_id, _ in changes.messages:
            await self.deliver(app, instance_id)
        if changes.timers or changes.purge_at_ms is not None:
            self._wake_timer.set()
        self._notify(head.app, head.id)
        self._mark_ready(head.app, head.n)
        if changes.finished:
            measured.ended(self._metrics_of(head.app), given, changes.status)
            await self._cascade(given)

    async def _cascade(self, given: turn.Turn) -> None:
        ended = next((e.executionTerminated for e in given.new if e.HasField("executionTerminated")), None)
        if ended is None or not ended.recurse:
            return
        for child in self.database.view(lambda tx: store.children(tx, given.head.app, given.head.id)):
            allowed = self.access.allows(given.head.app, child.app, WORKFLOW, TERMINATE, child.name)
            if child.status not in wire.TERMINAL and allowed:
                event = wire.event(executionTerminated=wire.history.ExecutionTerminatedEvent(input=ended.input, recurse=True))
                await self.raise_in(child.app, child.id, event)

    async def complete_activity(self, app: str, response: Any) -> None:
        """A worker's result of an activity; one that nobody waits for is dropped."""
        activity = self._activities.pop((app, response.instanceId, response.taskId), None)
        if activity is None:
            return
        activity.worker.activities.discard(activity.row)
        measured.activity(self._metrics_of(app), activity.name, activity.began, ok=not response.HasField("failureDetails"))
        self._known_activities.discard(activity.row)

        def unit(tx: Any) -> store.Instance | None:
            head = store.by_number(tx, activity.number)
            if head is None:
                return None
            event = activity_event(tx, head, response)
            return head if store.finish_activity(tx, activity.row, activity.number, event.SerializeToString()) else None

        head = await self.database.write(unit)
        if head is not None:
            self._mark_ready(head.app, head.n)
        self._dispatch(app)

    # --- events from outside
    async def raise_in(self, app: str, instance_id: str, event: Any) -> store.Instance | None:
        """Store an event for an instance and wake it, before the time of its start too; its head, None when there is none."""
        await self.open()

        def unit(tx: Any) -> store.Instance | None:
            store.bring_start(tx, app, instance_id)
            return store.deliver(tx, app, instance_id, event.SerializeToString())

        head = await self.database.write(unit)
        if head is not None and head.status not in wire.TERMINAL:
            self._mark_ready(app, head.n)
        return head

    async def deliver(self, app: str, instance_id: str) -> None:
        """Something was put into this instance's inbox."""
        head = self.database.view(lambda tx: store.instance(tx, app, instance_id))
        if head is not None:
            self._mark_ready(app, head.n)

    def _mark_ready(self, app: str, number: int) -> None:
        self._ready.setdefault(app, {})[number] = None
        self._dispatch(app)

    async def insert(self, make: Callable[[Any], tuple[turn.Turn, store.Changes]]) -> None:
        """An instance that begins with a history: `make` creates it in the transaction and says what it sets going."""

        def unit(tx: Any) -> tuple[turn.Turn, store.Changes]:
            given, changes = make(tx)
            refuse(self.access, tx, given, changes)
            store.commit_turn(tx, given.head.n, given.head.generation, changes)
            return given, changes

        given, changes = await self.database.write(unit)
        self.created(given.head.app, given.head.id, given.head.n)
        await self._after_turn(given, changes)

    async def reload(self, number: int) -> None:
        """Hand out the activities of an instance whose rows were made outside a turn."""
        self._queue_activities(self.database.view(lambda tx: store.activities_of(tx, number)))

    def forget(self, head: store.Instance) -> None:
        """An instance was purged: what its worker still answers is dropped."""
        self._turns.pop(head.n, None)
        self._by_id.pop((head.app, head.id), None)
        self._ready.get(head.app, {}).pop(head.n, None)
        self._notify(head.app, head.id)

    # --- waiting for a change
    async def changed(self, app: str, instance_id: str) -> None:
        """Return at the next commit of this instance (or its creation)."""
        waiter = asyncio.get_running_loop().create_future()
        waiters = self._watchers.setdefault((app, instance_id), [])
        waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                self._watchers.pop((app, instance_id), None)

    def _notify(self, app: str, instance_id: str) -> None:
        for waiter in self._watchers.pop((app, instance_id), ()):
            if not waiter.done():
                waiter.set_result(None)

    def created(self, app: str, instance_id: str, number: int) -> None:
        """A new instance has its first event (or a timer that brings it)."""
        self._wake_timer.set()
        self._notify(app, instance_id)
        self._mark_ready(app, number)

    # --- timers
    async def _run_timers(self) -> None:
        while True:
            self._wake_timer.clear()
            due = self.database.view(store.next_due)
            wait = LONGEST_SLEEP if due is None else min(LONGEST_WAIT, due / 1000 - time.time())  # the clock may be set
            if wait > 0:
                try:
                    async with asyncio.timeout(wait):
                        await self._wake_timer.wait()
                except TimeoutError:
                    pass
                continue
            fired = await self.database.write(lambda tx: fire(tx, int(time.time() * 1000)))
            for head, kind in fired:
                self.forget(head) if kind == store.PURGE else self._mark_ready(head.app, head.n)
