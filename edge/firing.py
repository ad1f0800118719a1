"""The firing of scheduled entries of one kind: which are due, how many at once, and what becomes of their results."""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable

from edge.clock import JUMP, Clock
from edge.database import Database
from edge.errors import ComponentError
from edge.record import record
from edge.tasks import Tasks

log = logging.getLogger("dapr.scheduler")
COLUMNS = "id, kind, key, due_ms, data, state"
BATCH = 256
LONGEST_SLEEP = 5.0  # a clock that was set is noticed within this time, while something is pending
PAUSE = 1.0


@record
class Entry:
    """One row. id: an overwrite gives a new one. due: epoch seconds. data: the definition. state: what its firings keep; both opaque."""

    id: int
    kind: str
    key: str
    due: float
    data: bytes
    state: bytes = b""


@record
class Again:
    """A handler's answer: fire once more at `due`. since: see `Scheduler.put`."""

    due: float
    state: bytes = b""
    since: float = 0.0


Fire = Callable[[Entry], Awaitable[Again | None]]
"""Called when an entry is due; None = it is finished and its row goes. Raising = logged, fired again after a pause."""


class Lane:
    """The firing of one kind. Entries are taken in the order of their due times, again only after their result is committed.

    rang: called with "" whenever the alarm rang, at least once in `LONGEST_SLEEP` while something is pending; with the kind when
    a firing under way was reckoned from a time that is still to come.
    """

    def __init__(
        self, database: Database, tasks: Tasks, clock: Clock, kind: str, fire: Fire, limit: int, rang: Callable[[str], None]
    ) -> None:
        self._database, self._tasks, self._clock, self._on_ring = database, tasks, clock, rang
        self._kind, self._fire, self._limit = kind, fire, limit
        self._running: dict[int, asyncio.Task[None]] = {}
        self._ready: deque[tuple[int, int]] = deque()
        self._more = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_due = math.inf
        self._closed = False

    def wake(self, due: float) -> None:
        """There is an entry due at `due`."""
        if self._closed:
            return
        if due <= self._clock.now():
            self._more = True
            self._pump()
        elif due < self._alarm_due:
            self._arm(due)

    async def close(self, patience: float) -> None:
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        running: set[asyncio.Task[None]] = set(self._running.values())
        if running and patience > 0:
            _, running = await asyncio.wait(running, timeout=patience)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def _pump(self) -> None:
        while len(self._running) < self._limit and not self._closed and not self._tasks.closed:
            if not self._ready and not self._load():
                return
            id_, due_ms = self._ready.popleft()
            entry = None if id_ in self._running else self._read(id_, due_ms)
            if entry is not None:
                self._running[id_] = self._tasks.start(f"fire[{self._kind}]", self._run(entry))

    def _load(self) -> bool:
        """Read which entries are due next; sets the alarm for the one after them. False: nothing is due."""
        if not self._more:
            return False
        now_ms, wanted = self._clock.now() * 1000, BATCH + len(self._running)
        rows = self._database.read_now("SELECT id, due_ms FROM schedule WHERE kind=? ORDER BY due_ms LIMIT ?", self._kind, wanted)
        later = next((index for index, row in enumerate(rows) if row[1] > now_ms), len(rows))
        self._ready.extend((id_, due_ms) for id_, due_ms in rows[:later] if id_ not in self._running)
        self._more = later == wanted
        if later < len(rows):
            self._arm(rows[later][1] / 1000)
        return bool(self._ready)

    def _read(self, id_: int, due_ms: int) -> Entry | None:
        """The entry, if it is still there and as due as it was."""
        row = self._database.row_now(f"SELECT {COLUMNS} FROM schedule WHERE id=? AND due_ms=?", id_, due_ms)
        return None if row is None else to_entry(row)

    def _arm(self, due: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        delay = min(max(due - self._clock.now(), 0.0), LONGEST_SLEEP)
        self._alarm_due = due
        self._alarm = asyncio.get_running_loop().call_later(delay, self._rang)

    def _rang(self) -> None:
        self._alarm, self._alarm_due = None, math.inf
        self._more = True
        self._on_ring("")
        self._pump()

    async def _run(self, entry: Entry) -> None:
        try:
            again = await self._fire(entry)
            await self._keep(entry, again)
        except asyncio.CancelledError:
            self._running.pop(entry.id, None)
            raise
        except BaseException:
            asyncio.get_running_loop().call_later(PAUSE, self._release, entry.id, 0.0)
            raise
        self._release(entry.id, math.inf if again is None else again.due)
        if again is not None and again.since > self._clock.now() + JUMP:  # the clock was set back meanwhile
            self._on_ring(self._kind)

    def _release(self, id_: int, due: float) -> None:
        self._running.pop(id_, None)
        if due != math.inf:
            self.wake(due)
        self._pump()

    async def _keep(self, entry: Entry, again: Again | None) -> None:
        """Write the result; while the disk refuses, the entry stays in flight."""

        def unit(tx: sqlite3.Connection) -> None:
            if again is None:
                tx.execute("DELETE FROM schedule WHERE id=?", (entry.id,))
            else:
                row = (to_ms(again.due), int(again.since * 1000), again.state, entry.id)
                tx.execute("UPDATE schedule SET due_ms=?, since_ms=?, state=? WHERE id=?", row)

        while True:
            try:
                await self._database.write(unit)
                return
            except ComponentError as error:
                log.error("Error keeping the result of %s %s: %s", entry.kind, entry.key, error)
                await asyncio.sleep(PAUSE)


def to_ms(due: float) -> int:
    """Whole milliseconds, never early."""
    return math.ceil(due * 1000)


def to_entry(row: tuple[int, str, str, int, bytes, bytes]) -> Entry:
    """A row of `COLUMNS`."""
    return Entry(row[0], row[1], row[2], row[3] / 1000, row[4], row[5])
