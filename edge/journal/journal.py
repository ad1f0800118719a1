"""Durable lanes of messages on a Database: a row exists from put to done; what is taken is known in memory only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Self

from edge.clock import Clock, SystemClock
from edge.crash import reach
from edge.database import Database
from edge.errors import Closed, ComponentError, Full
from edge.journal import rows
from edge.journal.entry import Entry, Limits
from edge.journal.gathering import Gathering
from edge.journal.lane import WINDOW, Lane
from edge.journal.once import Once
from edge.journal.outgoing import Put, Removal, Written, expire, move, write_all
from edge.journal.room import Room
from edge.journal.ttl import outlived
from edge.journal.waking import Waking
from edge.model import LaneStats, Message

log = logging.getLogger("edged.journal")
FLUSH_AFTER, FLUSH_AFTER_APP = 0.1, 0.05
FLUSH_AGAIN = 1.0
MOST_REMOVALS, MOST_REMOVALS_APP = 512, 48
"""So many deliveries at most, and those of so many seconds, are repeated after a crash. To an app fewer: a repetition is work for it."""
MOST_UNWRITTEN = 4 * MOST_REMOVALS
"""Ends that the writer has before it: where it falls behind, no more of a backlog is taken."""
EXPIRE_AT_ONCE = 512
REMEMBER = 86_400.0
"""Seconds of device-up time for which a key of `put` is known, unless the caller says otherwise."""
LANES = f"SELECT id, name, last, age, {rows.NUMBERS} FROM journal_lane"


class Journal:
    """Lanes are made by the first put. Calls are for the loop, `put_in` for units of the database."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, Lane] = {}
        self._room = Room(self._lanes)
        self._waking = Waking(self._loop)
        self._gathering = Gathering()
        self._puts: list[Put] = []
        self._removals: list[Removal] = []
        self._flush: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._offset = -self._clock.monotonic()
        self._once = Once(database, self.age_now)
        self._unwritten = 0
        self._held_back: dict[str, None] = {}
        self._strained = False
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
        """Names and numbers of the lanes; no row of the journal is read, so a long backlog costs nothing."""
        for number, name, last, age, *numbers in self._database.read_now(LANES):
            self._offset = max(self._offset, age - self._clock.monotonic())
            lane = self._lane(name)
            lane.number, lane.stats = number, rows.stats(name, numbers)
            lane.tail = rows.first_of(number) + last
            lane.cursor = rows.first_of(number) if lane.stats.pending > 0 else lane.tail

    async def close(self) -> None:
        """Write what is done; entries that are taken stay for the next start. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._gathering.began()
        timers = [self._flush, self._expiry, *(lane.timer for lane in self._lanes.values())]
        for timer in timers:
            if timer is not None:
                timer.cancel()
        removals, self._removals = self._removals, []
        if removals:
            with contextlib.suppress(ComponentError, sqlite3.Error):
                await self._database.write(partial(write_all, puts=(), removals=removals, age=self.age_now()))

    def age_now(self) -> float:
        """Seconds that this device was up since the journal's first row: it never jumps with the wall clock."""
        return self._offset + self._clock.monotonic()

    # --- putting
    async def put(
        self,
        lane: str,
        *messages: Message,
        held: bool = False,
        keys: Sequence[str] = (),
        remember: float = REMEMBER,
        patient: bool = False,
    ) -> list[Entry]:
        """On return the messages are on disk. held: they count as taken by the caller, who ends each with done, release, retry or bury.

        patient: the commit may wait a little for more messages, unless the callers come back faster than that (see `Gathering`).
        keys: as in `Put`. Fewer entries than messages come back where a key was known or the lane's policy dropped one.
        Raises Full (a limit of the lane, or the disk), Unavailable, Closed.
        """
        return await self.submit(lane, *messages, held=held, keys=keys, remember=remember, patient=patient) if messages else []

    def submit(
        self,
        lane: str,
        *messages: Message,
        held: bool = False,
        keys: Sequence[str] = (),
        remember: float = REMEMBER,
        patient: bool = False,
    ) -> asyncio.Future[list[Entry]]:
        """`put` with its place in the lane taken at once: what is submitted later comes behind it."""
        if self._closed:
            raise Closed("the journal is closed")
        if (short := self._database.short()) is not None:
            raise short
        puts = [(lane, message) for message in messages]
        future: asyncio.Future[list[Entry]] = self._loop.create_future()
        put = Put(puts, held, self.age_now(), future, keys, remember)
        if not held:
            self._room.admit(self._lane(lane), put)
        self._gathering.schedule(self._write, patient=patient)
        self._puts.append(put)
        return future

    def _write(self) -> None:
        """All puts of one turn of the loop are one unit, and what is done rides along: one commit, one change of each lane's numbers.

        While the disk is full they are apart, so that what was delivered can go although nothing new finds room.
        """
        self._gathering.began()
        puts, self._puts = self._puts, []
        removals, self._removals = self._removals, []
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if self._strained and puts and removals:
            self._submit([], removals)
            removals = []
        self._submit(puts, removals)

    def _submit(self, puts: list[Put], removals: list[Removal]) -> None:
        unit = partial(write_all, puts=puts, removals=removals, age=self.age_now())
        settle = partial(self._written, puts, removals)
        self._unwritten += len(removals)
        try:
            self._database.submit(unit, settle)
        except ComponentError as error:
            settle(None, error)

    def _written(self, puts: list[Put], removals: list[Removal], written: Written | None, error: Exception | None) -> None:
        self._unwritten -= len(removals)
        for put in puts:
            self._room.settle(put)
        if puts:
            self._gathering.ended()
        self._go_on()
        if written is None:
            assert error is not None
            self._strained = isinstance(error, Full)
            self._again(removals)
            for put in puts:
                if put.future is not None and not put.future.done():
                    put.future.set_exception(error)
            return
        self._strained = False
        reach("after-journal-commit")
        self._apply(written)
        touched: dict[str, None] = {}
        for put, entries in zip(puts, written.stored, strict=True):
            for entry in entries:
                self._lane(entry.lane).stored(entry, put.held)
                if not put.held:
                    touched[entry.lane] = None
            if put.future is not None and not put.future.done():
                put.future.set_result(entries)
            elif put.held:
                self.release(*entries)
        for name in touched:
            self._waking.wake(self._lanes[name])

    async def once(self, key: str, remember: float, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` unless the key is known; it is known once `work` is done, so a crash in between runs it again.

        Calls with a key that is under way wait for that one and share its failure.
        """
        await self._once.run(key, remember, work)

    def put_in(self, tx: sqlite3.Connection, lane: str, *messages: Message) -> None:
        """`put` inside a unit of the same database: the messages exist if and only if the unit commits."""
        puts = [Put([(lane, message) for message in messages], False, self.age_now())]
        written = write_all(tx, puts, (), self.age_now())
        self._database.after_commit(lambda *_: self._written(puts, [], written, None))

    def _apply(self, written: Written) -> None:
        """The numbers in memory become those on disk."""
        for name, change in written.changes.items():
            lane = self._lane(name)
            lane.stats.add(change)
            lane.bound.add(change.pending, change.pending_bytes)
        for name, seqs in written.gone.items():
            if seqs:
                self._lane(name).gone(seqs)

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
        if self._unwritten > MOST_UNWRITTEN:
            self._held_back[lane] = None
            return []
        now = self.age_now()
        found: list[Entry] = []
        while len(found) < limit and (more := self._take_some(one, limit - len(found), now)):
            found += [entry for entry in more if not self._expired(one, entry, now)]
        if one.retries:
            self._arm(one)
        return found

    def _go_on(self) -> None:
        """The writer caught up: lanes that were held back have something to take."""
        if self._held_back and self._unwritten <= MOST_UNWRITTEN // 2:
            held, self._held_back = self._held_back, {}
            for name in held:
                self._waking.wake(self._lane(name))

    def _take_some(self, lane: Lane, limit: int, now: float) -> list[Entry]:
        while len(lane.ready) < limit and lane.behind:
            self._read(lane, max(limit, WINDOW))
        return lane.take(limit, now)

    def _expired(self, lane: Lane, entry: Entry, now: float) -> bool:
        oldest = lane.bound.limits.max_age
        if not (oldest and now - entry.enqueued > oldest) and not outlived(entry, now):
            return False
        self._end(entry, "expired")
        return True

    def _read(self, lane: Lane, limit: int) -> None:
        sql = f"SELECT {rows.COLUMNS} FROM journal WHERE seq>? AND seq<=? ORDER BY seq LIMIT ?"
        found = self._database.read_now(sql, lane.cursor, lane.tail, limit)
        read = [rows.entry(lane.name, row) for row in found]
        for entry, sound in read:
            if not sound and entry.seq not in lane.skip:
                self._on_damaged(entry)
        lane.loaded([entry for entry, _ in read], limit)

    def _on_damaged(self, entry: Entry) -> None:
        """What is not as it was put is not delivered."""
        log.error("%s: message %d (id %s) is damaged on disk and was dropped", entry.lane, entry.seq, entry.message.id)
        self._lane(entry.lane).skip.add(entry.seq)
        self._end(entry, "dropped", "damaged")

    def release(self, *entries: Entry) -> None:
        """Give taken entries back untouched, to the front of their lanes in their order (the broker went away)."""
        by_lane: dict[str, list[Entry]] = {}
        for entry in entries:
            by_lane.setdefault(entry.lane, []).append(entry)
        for name, given in by_lane.items():
            lane = self._lane(name)
            lane.give_back(given)
            self._waking.wake(lane)

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
        self._removals.append(Removal(entry.seq, entry.lane, how, reason))
        if self._closed or self._puts:
            return
        to_app = entry.lane.startswith("in")
        if len(self._removals) >= (MOST_REMOVALS_APP if to_app else MOST_REMOVALS) and not self._strained:
            self._write()
        elif self._flush is None:
            self._flush = self._loop.call_later(FLUSH_AFTER_APP if to_app else FLUSH_AFTER, self._on_flush)

    def _on_flush(self) -> None:
        self._flush = None
        if self._removals and not self._closed:
            self._write()

    def _again(self, removals: list[Removal]) -> None:
        """The commit failed: the rows are still there; try again soon, a crash until then only repeats a delivery."""
        self._removals = removals + self._removals
        if removals and self._flush is None and not self._closed:
            self._flush = self._loop.call_later(FLUSH_AGAIN, self._on_flush)

    async def retry(self, entry: Entry, after: float, error: str) -> None:
        """Count a failed attempt; the entry comes again in `after` seconds (or after a restart), the lane goes on meanwhile."""
        entry.attempts, entry.due, entry.error = entry.attempts + 1, self.age_now() + after, error
        values = (entry.attempts, error, entry.seq)
        sql = "UPDATE journal SET attempts=?, error=? WHERE seq=?"
        lane = self._lane(entry.lane)
        if not await self._database.write(lambda tx: tx.execute(sql, values).rowcount):
            lane.outstanding.discard(entry.seq)  # it was dropped meanwhile
            return
        lane.later(entry)
        self._arm(lane)

    async def bury(self, entry: Entry, reason: str) -> None:
        """Move the entry to lane "dead/<its lane>"; on return that is on disk."""
        target, age = f"dead/{entry.lane}", self.age_now()
        future: asyncio.Future[None] = self._loop.create_future()

        def settle(result: Any, error: Exception | None) -> None:
            if error is None:
                self._moved(entry, *result)
            if not future.done():
                future.set_result(None) if error is None else future.set_exception(error)

        self._database.submit(lambda tx: move(tx, entry, target, reason, age), settle)
        await future

    def _moved(self, entry: Entry, written: Written, moved: Entry | None) -> None:
        self._lane(entry.lane).outstanding.discard(entry.seq)
        self._apply(written)
        if moved is not None:
            lane = self._lane(moved.lane)
            lane.stored(moved, False)
            self._waking.wake(lane)

    # --- limits
    def set_limits(self, prefix: str, limits: Limits, topics: Sequence[tuple[Callable[[str], bool], Limits]] = ()) -> None:
        """Bound the lanes whose names start with `prefix` together; what was set for it before is replaced.

        topics: limits of their own for lanes whose name behind the prefix fits; the first that fits counts.
        """
        self._room.bind(prefix, limits, topics)
        if self._expiry is None and any(one.max_age for one in (limits, *(own for _, own in topics))):
            self._expiry = self._loop.call_later(self._room.expire_every(), self._expire)

    def _expire(self) -> None:
        """End what waits longer than it may, also where nobody takes it."""
        self._expiry = self._loop.call_later(self._room.expire_every(), self._expire)
        age = self.age_now()
        for lane in list(self._lanes.values()):
            oldest = lane.bound.limits.max_age
            if oldest and lane.holds() and not self._closed:
                keep, before = frozenset(lane.outstanding), age - oldest
                unit = partial(expire, lane=lane.name, before=before, keep=keep, limit=EXPIRE_AT_ONCE, age=age)
                with contextlib.suppress(ComponentError):
                    self._database.submit(unit, self._on_expired)

    def _on_expired(self, written: Written | None, _error: Exception | None) -> None:
        if written is not None:
            self._apply(written)

    # --- looking
    async def peek(self, lane: str, limit: int, after: int = 0) -> list[Entry]:
        """Rows of a lane as they are on disk, taken or not, with seq > after; for people and tools."""
        number = self._lane(lane).number
        sql = f"SELECT {rows.COLUMNS} FROM journal WHERE seq>? AND seq<? ORDER BY seq LIMIT ?"
        found = await self._database.scan(sql, max(after, rows.first_of(number)), rows.first_of(number + 1), limit)
        return [rows.entry(lane, row)[0] for row in found] if number else []

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

    def refresh(self) -> None:
        """Another process changed the file (`edged journal retry`, `drop`, `import`): see what it did."""
        if not self._closed:
            self._database.submit(lambda tx: tx.execute(LANES).fetchall(), self._refreshed)

    def _refreshed(self, found: list[tuple[Any, ...]] | None, error: Exception | None) -> None:
        if found is None:
            log.warning("the journal could not be read again: %s", error)
            return
        for number, name, last, _, *numbers in found:
            lane, stats = self._lane(name), rows.stats(name, numbers)
            changed = stats != lane.stats
            lane.bound.add(stats.pending - lane.stats.pending, stats.pending_bytes - lane.stats.pending_bytes)
            lane.number, lane.stats = number, stats
            lane.cursor = max(lane.cursor, rows.first_of(number))
            lane.tail = max(lane.tail, rows.first_of(number) + last)
            if changed:
                self._recheck(lane)
                self._waking.wake(lane)

    def _recheck(self, lane: Lane) -> None:
        """Forget loaded entries whose rows are gone."""
        loaded = {entry.seq for entry in lane.ready} | {seq for _, seq, _ in lane.retries}
        if loaded:
            there = self._database.read_now("SELECT seq FROM journal WHERE seq BETWEEN ? AND ?", min(loaded), max(loaded))
            lane.gone(loaded - {seq for (seq,) in there})

    # --- waking
    def watch(self, prefix: str, ready: Callable[[str], None]) -> Callable[[], None]:
        """Call ready(lane) on the loop for each lane under `prefix` that has entries to take: now, and whenever one gets some.

        Returns the function that ends it.
        """
        return self._waking.watch(prefix, ready, self._lanes.values())

    def _arm(self, lane: Lane) -> None:
        """Wake the lane when its next retry is due."""
        if lane.timer is not None:
            lane.timer.cancel()
        lane.timer = self._loop.call_later(max(0.0, lane.retries[0][0] - self.age_now()), self._on_due, lane)

    def _on_due(self, lane: Lane) -> None:
        lane.timer = None
        if not self._closed:
            self._waking.wake(lane)

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name)
            lane.bound = self._room.bound_of(name)
        return lane
