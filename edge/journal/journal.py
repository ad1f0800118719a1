"""Durable lanes of messages on a Database: a row exists from put to done; what is taken is known in memory only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Self

from edge.clock import Clock, SystemClock
from edge.crash import reach
from edge.database import Database
from edge.errors import Closed, ComponentError, Full
from edge.journal import rows
from edge.journal.entry import Entry, LaneStats, Limits, Policy
from edge.journal.lane import WINDOW, Lane
from edge.journal.outgoing import Put, Removal, remove_all, write_all
from edge.model import Message

log = logging.getLogger("edged.journal")
FLUSH_AFTER = 0.1
FLUSH_AGAIN = 1.0
MOST_REMOVALS = 512
LANES = "SELECT id, name, accepted, delivered, expired, dead, dropped, pending, bytes FROM journal_lane"


class Journal:
    """Lanes are made by the first put. Calls are for the loop, `put_in` for units of the database."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, Lane] = {}
        self._limits: list[tuple[str, Limits]] = []
        self._watchers: dict[int, tuple[str, Callable[[str], None]]] = {}
        self._next_watcher = 0
        self._puts: list[Put] = []
        self._removals: list[Removal] = []
        self._flush: asyncio.TimerHandle | None = None
        self._offset = 0.0
        self._closed = False

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, database: Database, clock: Clock | None = None) -> AsyncIterator[Self]:
        """The journal of a database, its tables made or brought up to date."""
        journal = cls(database, clock)
        await database.migrate("journal", [rows.SCHEMA])
        journal._load()
        try:
            yield journal
        finally:
            await journal.close()

    def _load(self) -> None:
        """Names and numbers of the lanes; no row of the journal is read but the last, so a long backlog costs nothing."""
        last = self._database.row_now("SELECT seq, enqueued FROM journal ORDER BY seq DESC LIMIT 1")
        tail, age = (last[0], last[1]) if last else (0, 0.0)
        self._offset = age - self._clock.monotonic()
        for number, name, *numbers in self._database.read_now(LANES):
            stats = rows.stats(name, tuple(numbers))
            lane = self._lanes[name] = Lane(name, number, stats, tail if stats.pending > 0 else 0)
            if stats.pending <= 0:
                lane.cursor = lane.tail

    async def close(self) -> None:
        """Write what is done; entries that are taken stay for the next start. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for lane in self._lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()
        if self._flush is not None:
            self._flush.cancel()
        removals, self._removals = self._removals, []
        if removals:
            with contextlib.suppress(ComponentError, sqlite3.Error):
                await self._database.write(lambda tx: remove_all(tx, removals))

    def age_now(self) -> float:
        """Seconds that this device was up since the journal's first row: it never jumps with the wall clock."""
        return self._offset + self._clock.monotonic()

    # --- putting
    async def put(self, lane: str, *messages: Message, held: bool = False) -> list[Entry]:
        """On return the messages are on disk. held: they count as taken by the caller, who ends each with done, release, retry or bury.

        Raises Full (a limit of the lane, or the disk), Unavailable, Closed.
        """
        return await self._put([(lane, message) for message in messages], held)

    async def put_all(self, puts: Sequence[tuple[str, Message]]) -> list[Entry]:
        """`put` into several lanes, all or nothing (one inbound message, one row per app)."""
        return await self._put(puts, False)

    async def _put(self, puts: Sequence[tuple[str, Message]], held: bool) -> list[Entry]:
        if self._closed:
            raise Closed("the journal is closed")
        if not puts:
            return []
        for lane, message in puts:
            self._admit(self._lane(lane), message)
        one = Put(puts, held, self.age_now(), self._loop.create_future())
        if not self._puts:
            self._loop.call_soon(self._write_puts)
        self._puts.append(one)
        entries = await one.future
        return entries

    def _write_puts(self) -> None:
        """All puts of one turn of the loop are one unit, and what is done rides along: one commit, one change of each lane's numbers."""
        puts, self._puts = self._puts, []
        removals, self._removals = self._removals, []
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        self._database.submit(partial(write_all, puts=puts, removals=removals), partial(self._written, puts, removals))

    def _written(self, puts: list[Put], removals: list[Removal], result: Any, error: Exception | None) -> None:
        if error is not None:
            self._again(removals)
            for put in puts:
                if not put.future.done():
                    put.future.set_exception(error)
            return
        reach("after-journal-commit")
        self._removed(removals)
        touched: dict[str, None] = {}
        for put, entries in zip(puts, result, strict=True):
            for entry in entries:
                lane = self._lane(entry.lane)
                size = rows.size_of(entry.message)
                lane.stats.accepted += 1
                lane.stats.pending += 1
                lane.stats.pending_bytes += size
                lane.stored(entry, put.held)
                if not put.held:
                    touched[entry.lane] = None
            if not put.future.done():
                put.future.set_result(entries)
            elif put.held:
                self.release(*entries)
        for name in touched:
            self._ready(self._lanes[name])

    def put_in(self, tx: sqlite3.Connection, lane: str, *messages: Message) -> None:
        """`put` inside a unit of the same database: the messages exist if and only if the unit commits."""
        put = Put([(lane, message) for message in messages], False, self.age_now(), None)  # type: ignore[arg-type]
        entries = write_all(tx, [put], [])
        self._database.after_commit(lambda result, error: self._put_elsewhere(entries[0]))

    def _put_elsewhere(self, entries: list[Entry]) -> None:
        for entry in entries:
            lane = self._lane(entry.lane)
            lane.stats.accepted += 1
            lane.stats.pending += 1
            lane.stats.pending_bytes += rows.size_of(entry.message)
            lane.stored(entry, False)
        for name in {entry.lane for entry in entries}:
            self._ready(self._lanes[name])

    def _admit(self, lane: Lane, message: Message) -> None:
        """Make room by the lane's policy. Raises Full."""
        limits = lane.limits
        if not (limits.max_entries or limits.max_bytes):
            return
        size = rows.size_of(message)
        over_count = limits.max_entries and lane.stats.pending + 1 > limits.max_entries
        over_bytes = limits.max_bytes and lane.stats.pending_bytes + size > limits.max_bytes
        if not over_count and not over_bytes:
            return
        if limits.policy is Policy.DROP_OLDEST and (oldest := self._oldest(lane)) is not None:
            self._remove(Removal(oldest.seq, lane.name, rows.size_of(oldest.message), "dropped", "full"))
            log.warning("%s is full: its oldest message was dropped", lane.name)
            return
        what = f"{lane.stats.pending} messages, {lane.stats.pending_bytes} bytes"
        raise Full(f"the journal's lane {lane.name} is full ({what}); the broker or the app has to take some first, or raise the limit")

    def _oldest(self, lane: Lane) -> Entry | None:
        if not lane.ready and lane.behind:
            self._read(lane, WINDOW)
        return lane.ready.popleft() if lane.ready else None

    # --- taking
    async def take(self, lane: str, limit: int) -> list[Entry]:
        """Wait for due entries and take up to `limit`, in the order they were put; each is ended with done, release, retry or bury."""
        while not (found := self.take_now(lane, limit)):
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._lane(lane).waiters.append(waiter)
            await waiter
        return found

    def take_now(self, lane: str, limit: int) -> list[Entry]:
        """What `take` would give without waiting."""
        one = self._lanes.get(lane)
        if one is None or self._closed or limit <= 0:
            return []
        if len(one.ready) < limit and one.behind:
            self._read(one, max(limit, WINDOW))
        now = self.age_now()
        found = one.take(limit, now)
        if one.retries:
            self._arm(one)
        if one.limits.max_age:
            found = [entry for entry in found if not self._expired(one, entry, now)]
        return found

    def _expired(self, lane: Lane, entry: Entry, now: float) -> bool:
        if now - entry.enqueued <= lane.limits.max_age:
            return False
        self._end(entry, "expired")
        return True

    def _read(self, lane: Lane, limit: int) -> None:
        sql = f"SELECT {rows.COLUMNS} FROM journal WHERE lane=? AND seq>? ORDER BY seq LIMIT ?"
        found = self._database.read_now(sql, lane.number or self._number(lane), lane.cursor, limit)
        lane.loaded((rows.entry(lane.name, row) for row in found), limit, self.age_now())

    def _number(self, lane: Lane) -> int:
        row = self._database.row_now("SELECT id FROM journal_lane WHERE name=?", lane.name)
        lane.number = row[0] if row else 0
        return lane.number

    def release(self, *entries: Entry) -> None:
        """Give taken entries back untouched, to the front of their lanes in their order (the broker went away)."""
        by_lane: dict[str, list[Entry]] = {}
        for entry in entries:
            by_lane.setdefault(entry.lane, []).append(entry)
        for name, given in by_lane.items():
            lane = self._lane(name)
            lane.give_back(given)
            self._ready(lane)

    # --- ending
    async def done(self, *entries: Entry) -> None:
        """The entries reached their goal: their rows go with the next commit, within FLUSH_AFTER at the latest. Does not wait for it."""
        for entry in entries:
            self._end(entry, "delivered")

    async def drop(self, entry: Entry, reason: str) -> None:
        """End the entry without delivery (DROP, expired: reason "expired"); counted by reason."""
        if reason == "expired":
            self._end(entry, "expired")
        else:
            self._end(entry, "dropped", reason or "dropped")

    def _end(self, entry: Entry, how: str, reason: str = "") -> None:
        self._lane(entry.lane).outstanding.discard(entry.seq)
        self._remove(Removal(entry.seq, entry.lane, rows.size_of(entry.message), how, reason))

    def _remove(self, removal: Removal) -> None:
        self._removals.append(removal)
        if self._closed:
            return
        if len(self._removals) >= MOST_REMOVALS and not self._puts:
            self._write_puts()
        elif self._flush is None and not self._puts:
            self._flush = self._loop.call_later(FLUSH_AFTER, self._on_flush)

    def _on_flush(self) -> None:
        self._flush = None
        if self._removals and not self._closed:
            self._write_puts()

    def _removed(self, removals: list[Removal]) -> None:
        for removal in removals:
            stats = self._lane(removal.lane).stats
            stats.pending -= 1
            stats.pending_bytes = max(0, stats.pending_bytes - removal.size)
            if removal.how == "dropped":
                stats.dropped[removal.reason] = stats.dropped.get(removal.reason, 0) + 1
            else:
                setattr(stats, removal.how, getattr(stats, removal.how) + 1)

    def _again(self, removals: list[Removal]) -> None:
        """The commit failed: the rows are still there; try again soon, a crash until then only repeats a delivery."""
        self._removals = removals + self._removals
        if removals and self._flush is None and not self._closed:
            self._flush = self._loop.call_later(FLUSH_AGAIN, self._on_flush)

    async def retry(self, entry: Entry, after: float, error: str) -> None:
        """Count a failed attempt; the entry comes again in `after` seconds, the lane goes on meanwhile (see `ordered`)."""
        entry.attempts, entry.due, entry.error = entry.attempts + 1, self.age_now() + after, error
        values = (entry.attempts, entry.due, error, entry.seq)
        await self._database.write(lambda tx: tx.execute("UPDATE journal SET attempts=?, due=?, error=? WHERE seq=?", values) and None)
        lane = self._lane(entry.lane)
        lane.later(entry)
        self._arm(lane)

    async def bury(self, entry: Entry, reason: str) -> None:
        """Move the entry to lane "dead/<its lane>"; on return that is on disk."""
        target, now = f"dead/{entry.lane}", self.age_now()
        size = rows.size_of(entry.message)

        def unit(tx: sqlite3.Connection) -> int:
            source, dead = rows.lane_id(tx, entry.lane), rows.lane_id(tx, target)
            rows.delete(tx, [entry.seq])
            rows.count(tx, source, -1, -size, dead=1)
            rows.count(tx, dead, 1, size, accepted=1)
            return rows.insert(tx, dead, entry.message, now, entry.attempts, reason)

        seq = await self._database.write(unit)
        lane = self._lane(entry.lane)
        lane.outstanding.discard(entry.seq)
        lane.stats.dead += 1
        lane.stats.pending -= 1
        lane.stats.pending_bytes = max(0, lane.stats.pending_bytes - size)
        self._put_elsewhere([Entry(seq, target, entry.message, entry.attempts, 0.0, now, reason)])

    # --- looking
    async def peek(self, lane: str, limit: int, after: int = 0) -> list[Entry]:
        """Rows of a lane as they are on disk, taken or not, with seq > after; for people and tools."""
        sql = f"SELECT {rows.COLUMNS} FROM journal WHERE lane=(SELECT id FROM journal_lane WHERE name=?) AND seq>? ORDER BY seq LIMIT ?"
        return [rows.entry(lane, row) for row in await self._database.scan(sql, lane, after, limit)]

    def set_limits(self, prefix: str, limits: Limits) -> None:
        """Bound every lane whose name starts with `prefix` (the longest prefix counts)."""
        self._limits = sorted([*self._limits, (prefix, limits)], key=lambda item: len(item[0]))
        for lane in self._lanes.values():
            self._bound(lane)

    def _bound(self, lane: Lane) -> None:
        for prefix, limits in self._limits:
            if lane.name.startswith(prefix):
                lane.limits = limits

    def set_ordered(self, lane: str, ordered: bool = True) -> None:
        """A retried entry holds its lane back until it is done."""
        self._lane(lane).ordered = ordered

    def holds(self, lane: str) -> bool:
        """The lane has rows that nobody has taken, due or not: who puts nothing new before them keeps the order."""
        one = self._lanes.get(lane)
        return one is not None and one.holds()

    def lanes(self, prefix: str = "") -> list[str]:
        """Names of the lanes that hold rows."""
        return [name for name, lane in self._lanes.items() if name.startswith(prefix) and lane.stats.pending > 0]

    def stats(self, prefix: str = "") -> list[LaneStats]:
        """The numbers of the lanes under `prefix`, equal to the last committed row."""
        return [lane.stats for name, lane in self._lanes.items() if name.startswith(prefix)]

    # --- waking
    def watch(self, prefix: str, ready: Callable[[str], None]) -> Callable[[], None]:
        """Call ready(lane) on the loop for each lane under `prefix` that has entries to take: now, and whenever one gets some.

        Returns the function that ends it.
        """
        key = self._next_watcher = self._next_watcher + 1
        self._watchers[key] = (prefix, ready)
        for name, lane in self._lanes.items():
            if name.startswith(prefix) and lane.holds():
                self._loop.call_soon(self._tell, key, name)
        return lambda: self._watchers.pop(key, None) and None

    def _tell(self, key: int, lane: str) -> None:
        if key in self._watchers:
            self._watchers[key][1](lane)

    def _ready(self, lane: Lane) -> None:
        waiters, lane.waiters = lane.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        for key, (prefix, _) in tuple(self._watchers.items()):
            if lane.name.startswith(prefix):
                self._loop.call_soon(self._tell, key, lane.name)

    def _arm(self, lane: Lane) -> None:
        """Wake the lane when its next retry is due."""
        if lane.timer is not None:
            lane.timer.cancel()
        lane.timer = self._loop.call_later(max(0.0, lane.retries[0][0] - self.age_now()), self._on_due, lane)

    def _on_due(self, lane: Lane) -> None:
        lane.timer = None
        if not self._closed:
            self._ready(lane)

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name)
            self._bound(lane)
        return lane
