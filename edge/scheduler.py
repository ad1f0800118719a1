"""Durable due times in the daemon's file: jobs, reminders, cron and whatever else fires later is a row until it is over.

A row exists from `put` until its handler said that it is finished; that it is being fired is known in memory only, so a crash fires it
again. Rows stay on disk: in memory are those in flight and a small batch of the next due ones, and one loop timer per attached kind.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial

from edge.clock import JUMP, Clock
from edge.database import Database
from edge.firing import BATCH, COLUMNS, Entry, Fire, Lane, to_entry, to_ms
from edge.record import record
from edge.tasks import Tasks

log = logging.getLogger("dapr.scheduler")
SCHEMA = """
CREATE TABLE schedule(id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL, due_ms INTEGER NOT NULL,
    since_ms INTEGER NOT NULL, data BLOB NOT NULL, state BLOB NOT NULL);
CREATE UNIQUE INDEX schedule_key ON schedule(kind, key);
CREATE INDEX schedule_due ON schedule(kind, due_ms, since_ms);
"""
PAGE = 500


Rewind = Callable[[Entry, float], "Rewound"]
"""An entry whose due time was reckoned from a time that is still to come, and now: what it is to be."""
Detach = Callable[[float], Awaitable[None]]
"""No new firings; those under way get so many seconds, then they are cancelled. Rows stay."""


@record
class Rewound:
    """An entry reckoned anew."""

    due: float
    data: bytes
    state: bytes


class Scheduler:
    """The due times of one daemon. Kinds carry the app (`job/<namespace>/<app>`), keys are unique within a kind."""

    def __init__(self, database: Database, tasks: Tasks, clock: Clock) -> None:
        self.clock = clock
        self._database, self._tasks = database, tasks
        self._lanes: dict[str, Lane] = {}
        self._rewinds: dict[str, Rewind] = {}
        self._offset = clock.now() - clock.monotonic()
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

    async def put(self, kind: str, key: str, due: float, data: bytes, *, since: float = 0.0, overwrite: bool = True) -> bool:
        """On return the entry is on disk and will fire at `due` (epoch seconds), at once if that is past.

        since: the time from which `due` was reckoned; should the clock be set back before it, `Rewind` reckons anew. 0.0 = none.
        False: there is one of that key and `overwrite` is False. Raises Full, Unavailable.
        """
        word = "REPLACE" if overwrite else "IGNORE"
        row = (kind, key, to_ms(due), int(since * 1000), data)

        def unit(tx: sqlite3.Connection) -> bool:
            done = tx.execute(f"INSERT OR {word} INTO schedule(kind, key, due_ms, since_ms, data, state) VALUES (?,?,?,?,?,x'')", row)
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
        return None if row is None else to_entry(row)

    async def list(self, kind: str, prefix: str = "") -> list[Entry]:
        """The entries whose key starts with `prefix`, by key."""
        found: list[Entry] = []
        sql = f"SELECT {COLUMNS} FROM schedule WHERE kind=? AND key>=? AND key<? AND key>? ORDER BY key LIMIT {PAGE}"
        while self._there:
            last = found[-1].key if found else ""
            rows = self._database.read_now(sql, kind, prefix, prefix + "\U0010ffff", last)
            found += map(to_entry, rows)
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

    def attach(self, kind: str, fire: Fire, limit: int = BATCH, rewind: Rewind | None = None) -> Detach:
        """Fire due entries of that kind from now on, at most `limit` at a time; entries nobody attached to wait in the file.

        rewind: what becomes of entries that a clock set back would keep waiting. Returns how to stop.
        """
        if kind in self._lanes:
            raise RuntimeError(f"schedule kind {kind} is attached already")
        lane = self._lanes[kind] = Lane(self._database, self._tasks, self.clock, kind, fire, limit, self._rang)
        if rewind is not None:
            self._rewinds[kind] = rewind
        if self._there:
            lane.wake(0.0)
            self._tasks.start(f"rewind[{kind}]", self._set_back(kind))

        async def detach(patience: float) -> None:
            if self._lanes.get(kind) is lane:
                del self._lanes[kind]
                self._rewinds.pop(kind, None)
            await lane.close(patience)

        return detach

    def _rang(self, kind: str) -> None:
        """Notice a clock that was set back. kind: whose entries are to be looked at in any case."""
        if kind in self._lanes:
            self._tasks.start(f"rewind[{kind}]", self._set_back(kind))
        offset = self.clock.now() - self.clock.monotonic()
        moved, self._offset = offset - self._offset, offset
        if moved < -JUMP:
            log.warning("The clock was set back by %.0f s; what was due in so many seconds still is", -moved)
            for one in self._lanes:
                self._tasks.start(f"rewind[{one}]", self._set_back(one))

    async def _set_back(self, kind: str) -> None:
        """Reckon anew what was reckoned from a time that is still to come."""
        rewind = self._rewinds.get(kind)
        sql = f"SELECT {COLUMNS} FROM schedule INDEXED BY schedule_due WHERE kind=? AND since_ms>? LIMIT {PAGE}"
        while rewind is not None:
            now = self.clock.now()
            rows = self._database.read_now(sql, kind, int((now + JUMP) * 1000))
            if not rows:
                break
            await self._database.write(partial(_rewrite, [rewind(to_entry(row), now) for row in rows], [row[0] for row in rows], now))
            if (lane := self._lanes.get(kind)) is not None:
                lane.wake(0.0)


def _rewrite(entries: list[Rewound], ids: list[int], now: float, tx: sqlite3.Connection) -> None:
    rows = [(to_ms(entry.due), int(now * 1000), entry.data, entry.state, id_) for entry, id_ in zip(entries, ids, strict=True)]
    tx.executemany("UPDATE schedule SET due_ms=?, since_ms=?, data=?, state=? WHERE id=?", rows)
