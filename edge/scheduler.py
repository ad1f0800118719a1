"""Durable due times in the daemon's file: jobs, reminders, cron and whatever else fires later is a row until it is over.

A row exists from `put` until its handler said that it is finished; that it is being fired is known in memory only, so a crash fires it
again. Rows stay on disk: in memory are those in flight and a small batch of the next due ones, and one loop timer per attached kind.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable

from edge.clock import Clock
from edge.database import Database
from edge.errors import ComponentError
from edge.record import record
from edge.tasks import Tasks

log = logging.getLogger("dapr.scheduler")
SCHEMA = """
CREATE TABLE schedule(id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL, due_ms INTEGER NOT NULL,
    data BLOB NOT NULL, state BLOB NOT NULL);
CREATE UNIQUE INDEX schedule_key ON schedule(kind, key);
CREATE INDEX schedule_due ON schedule(kind, due_ms);
"""
COLUMNS = "id, kind, key, due_ms, data, state"
BATCH = 256
PAGE = 500
LONGEST_SLEEP = 60.0  # a clock that was set is noticed within this time, while something is pending
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
    """A handler's answer: fire once more at `due`."""

    due: float
    state: bytes = b""


Fire = Callable[[Entry], Awaitable[Again | None]]
"""Called when an entry is due; None = it is finished and its row goes. Raising = logged, fired again after a pause."""
Detach = Callable[[float], Awaitable[None]]
"""No new firings; those under way get so many seconds, then they are cancelled. Rows stay."""


class Scheduler:
    """The due times of one daemon. Kinds carry the app (`job/<namespace>/<app>`), keys are unique within a kind."""

    def __init__(self, database: Database, tasks: Tasks, clock: Clock) -> None:
        self.clock = clock
        self._database, self._tasks = database, tasks
        self._lanes: dict[str, Lane] = {}
        self._there = database.row_now("SELECT 1 FROM sqlite_master WHERE name='schedule'") is not None

    def pending(self) -> bool:
        """Anything is to be fired, some time."""
        return self._there and self._database.row_now("SELECT 1 FROM schedule LIMIT 1") is not None

    async def _create(self) -> None:
        """The table comes with the first entry: a daemon that schedules nothing writes nothing."""
        await self._database.migrate("schedule", [SCHEMA])
        self._there = True
        for lane in self._lanes.values():
            lane.wake(0.0)

    async def put(self, kind: str, key: str, due: float, data: bytes, state: bytes = b"", *, overwrite: bool = True) -> bool:
        """On return the entry is on disk and will fire at `due` (epoch seconds), at once if that is past.

        False: there is one of that key and `overwrite` is False. Raises Full, Unavailable.
        """
        word = "REPLACE" if overwrite else "IGNORE"
        row = (kind, key, _to_ms(due), data, state)

        def unit(tx: sqlite3.Connection) -> bool:
            done = tx.execute(f"INSERT OR {word} INTO schedule(kind, key, due_ms, data, state) VALUES (?,?,?,?,?)", row)
            return done.rowcount > 0

        if not self._there:
            await self._create()
        stored = await self._database.write(unit)
        if stored and (lane := self._lanes.get(kind)) is not None:
            lane.wake(due)
        return stored

    def get(self, kind: str, key: str) -> Entry | None:
        """The entry of that key."""
        if not self._there:
            return None
        row = self._database.row_now(f"SELECT {COLUMNS} FROM schedule WHERE kind=? AND key=?", kind, key)
        return None if row is None else _entry(row)

    async def list(self, kind: str, prefix: str = "") -> list[Entry]:
        """The entries whose key starts with `prefix`, by key."""
        found: list[Entry] = []
        sql = f"SELECT {COLUMNS} FROM schedule WHERE kind=? AND key>=? AND key<? AND key>? ORDER BY key LIMIT {PAGE}"
        while self._there:
            last = found[-1].key if found else ""
            rows = self._database.read_now(sql, kind, prefix, prefix + "\U0010ffff", last)
            found += map(_entry, rows)
            if len(rows) < PAGE:
                break
            await asyncio.sleep(0)
        return found

    async def delete(self, kind: str, key: str) -> bool:
        """Remove the entry; it does not fire any more unless it is just doing so. False: there was none."""
        sql = "DELETE FROM schedule WHERE kind=? AND key=?"
        return self._there and await self._database.write(lambda tx: tx.execute(sql, (kind, key)).rowcount > 0)

    async def delete_prefix(self, kind: str, prefix: str) -> int:
        """Remove the entries whose key starts with `prefix`; how many."""
        sql, args = "DELETE FROM schedule WHERE kind=? AND key>=? AND key<?", (kind, prefix, prefix + "\U0010ffff")
        return await self._database.write(lambda tx: tx.execute(sql, args).rowcount) if self._there else 0

    def count(self, kind: str) -> int:
        """How many entries the kind has."""
        row = self._database.row_now("SELECT count(*) FROM schedule WHERE kind=?", kind) if self._there else None
        return 0 if row is None else int(row[0])

    def holds(self, entry: Entry) -> bool:
        """The entry was neither deleted nor overwritten."""
        return self._database.row_now("SELECT 1 FROM schedule WHERE id=?", entry.id) is not None

    def attach(self, kind: str, fire: Fire, limit: int = BATCH) -> Detach:
        """Fire due entries of that kind from now on, at most `limit` at a time; entries nobody attached to wait in the file.

        Returns how to stop.
        """
        if kind in self._lanes:
            raise RuntimeError(f"schedule kind {kind} is attached already")
        lane = self._lanes[kind] = Lane(self._database, self._tasks, self.clock, kind, fire, limit)
        if self._there:
            lane.wake(0.0)

        async def detach(patience: float) -> None:
            if self._lanes.get(kind) is lane:
                del self._lanes[kind]
            await lane.close(patience)

        return detach


class Lane:
    """The firing of one kind. Entries are taken in the order of their due times, again only after their result is committed."""

    def __init__(self, database: Database, tasks: Tasks, clock: Clock, kind: str, fire: Fire, limit: int) -> None:
        self._database, self._tasks, self._clock = database, tasks, clock
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
        return None if row is None else _entry(row)

    def _arm(self, due: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        delay = min(max(due - self._clock.now(), 0.0), LONGEST_SLEEP)
        self._alarm_due = due
        self._alarm = asyncio.get_running_loop().call_later(delay, self._rang)

    def _rang(self) -> None:
        self._alarm, self._alarm_due = None, math.inf
        self._more = True
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
                tx.execute("UPDATE schedule SET due_ms=?, state=? WHERE id=?", (_to_ms(again.due), again.state, entry.id))

        while True:
            try:
                await self._database.write(unit)
                return
            except ComponentError as error:
                log.error("Error keeping the result of %s %s: %s", entry.kind, entry.key, error)
                await asyncio.sleep(PAUSE)


def _to_ms(due: float) -> int:
    return math.ceil(due * 1000)


def _entry(row: tuple[int, str, str, int, bytes, bytes]) -> Entry:
    return Entry(row[0], row[1], row[2], row[3] / 1000, row[4], row[5])
