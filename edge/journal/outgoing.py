"""What waits for the journal's next commit: messages to store, rows to remove; and the unit that does both."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from edge.crash import reach
from edge.journal import rows
from edge.journal.bounds import Bound
from edge.journal.entry import Entry
from edge.model import LaneStats, Message

FORGET_AT_ONCE = 64


@dataclass(slots=True)
class Put:
    """Messages of one caller. enqueued: age of the device. held: they count as taken.

    keys: one per message or none; a message whose key (not "") was seen within the last `remember` seconds is not stored again.
    clear: what has to go first. thinned: the messages are accepted and dropped for that reason.
    """

    puts: Sequence[tuple[str, Message]]
    held: bool
    enqueued: float
    future: asyncio.Future[list[Entry]] | None = None
    keys: Sequence[str] = ()
    remember: float = 0.0
    clear: list[Clear] = field(default_factory=list)
    thinned: str = ""
    reserved: tuple[Bound, int, int] | None = None


@dataclass(slots=True)
class Clear:
    """Rows of a lane to drop, oldest first, but for those in `keep`. entries -1: all, and of the new messages all but the last."""

    lane: str
    entries: int
    size_bytes: int
    keep: frozenset[int]
    reason: str


@dataclass(slots=True)
class Removal:
    """A row that reached its end. how: delivered, expired, dead or dropped (then with a reason)."""

    seq: int
    lane: str
    how: str
    reason: str = ""


@dataclass(slots=True)
class Written:
    """What a unit did. stored: per put. gone: seqs that were dropped to make room, per lane. changes: of the lanes' numbers."""

    stored: list[list[Entry]] = field(default_factory=list)
    gone: dict[str, set[int]] = field(default_factory=dict)
    changes: dict[str, LaneStats] = field(default_factory=dict)


class Work:
    """One unit under way: each lane's row is read once and written once."""

    def __init__(self, tx: sqlite3.Connection, age: float) -> None:
        self.tx, self.age = tx, age
        self.result = Written()
        self._lanes: dict[str, list[int]] = {}

    def lane(self, name: str) -> list[int]:
        """[number, key of the newest row]."""
        found = self._lanes.get(name)
        if found is None:
            found = self._lanes[name] = list(rows.lane_of(self.tx, name))
            self.result.changes[name] = LaneStats(name)
        return found

    def store(self, name: str, message: Message, enqueued: float, attempts: int = 0, error: str = "") -> Entry:
        lane = self.lane(name)
        lane[1] += 1
        rows.insert(self.tx, lane[1], message, enqueued, attempts, error)
        change = self.result.changes[name]
        change.accepted += 1
        change.pending += 1
        change.pending_bytes += rows.size_of(message)
        return Entry(lane[1], name, message, attempts, 0.0, enqueued, error)

    def end(self, name: str, seq: int, how: str, reason: str) -> bool:
        """False: somebody else removed the row, and counted it."""
        self.lane(name)
        size = rows.delete(self.tx, seq)
        if size is None:
            return False
        self._count(name, size, how, reason)
        return True

    def end_all(self, removals: Iterable[Removal]) -> None:
        """`end` for many: those of a lane that end alike go together."""
        alike: dict[tuple[str, str, str], list[int]] = {}
        for removal in removals:
            alike.setdefault((removal.lane, removal.how, removal.reason), []).append(removal.seq)
        for (name, how, reason), seqs in alike.items():
            self.lane(name)
            there, size = rows.sizes(self.tx, seqs)
            if there:  # else somebody else removed them, and counted them
                rows.delete_all(self.tx, seqs)
                self._count(name, size, how, reason, there)

    def _count(self, name: str, size: int, how: str, reason: str, number: int = 1) -> None:
        change = self.result.changes[name]
        change.pending -= number
        change.pending_bytes -= size
        if how == "dropped":
            change.dropped[reason] = change.dropped.get(reason, 0) + number
        else:
            setattr(change, how, getattr(change, how) + number)

    def thin(self, name: str, reason: str) -> None:
        """A message that is accepted, and dropped at once."""
        self.lane(name)
        change = self.result.changes[name]
        change.accepted += 1
        change.dropped[reason] = change.dropped.get(reason, 0) + 1

    def clear(self, order: Clear) -> None:
        number, _ = self.lane(order.lane)
        entries, size = order.entries, order.size_bytes
        limit = -1 if entries < 0 else entries + size // rows.ROW_BYTES + len(order.keep) + 1
        gone = self.result.gone.setdefault(order.lane, set())
        for seq, freed in rows.oldest(self.tx, number, limit):
            if entries == 0 and size <= 0:
                break
            if seq not in order.keep and self.end(order.lane, seq, "dropped", order.reason):
                gone.add(seq)
                entries -= 1 if entries > 0 else 0
                size -= freed
        if gone:
            reach("before-prune")

    def finish(self) -> Written:
        for name, change in self.result.changes.items():
            number, last = self._lanes[name]
            rows.change(self.tx, number, change, self.age, last)
        return self.result


def write_all(tx: sqlite3.Connection, puts: Sequence[Put], removals: Iterable[Removal], age: float) -> Written:
    """Store and remove in one go; each lane's numbers change once. age: of the device."""
    work = Work(tx, age)
    work.end_all(removals)
    for put in puts:
        work.result.stored.append(_store(work, put))
    written = work.finish()
    reach("before-journal-commit")
    return written


def _store(work: Work, put: Put) -> list[Entry]:
    fresh = list(put.puts)
    if put.keys:
        rows.forget(work.tx, work.age, FORGET_AT_ONCE)
        until = work.age + put.remember
        fresh = [one for one, key in zip(fresh, put.keys, strict=True) if not key or rows.remember(work.tx, key, work.age, until)]
    if put.thinned:
        for name, _ in fresh:
            work.thin(name, put.thinned)
        return []
    for order in put.clear:
        if order.entries < 0:
            fresh = _last_only(work, fresh, order)
        work.clear(order)
    return [work.store(name, message, put.enqueued) for name, message in fresh]


def _last_only(work: Work, puts: list[tuple[str, Message]], order: Clear) -> list[tuple[str, Message]]:
    mine = [at for at, (name, _) in enumerate(puts) if name == order.lane]
    for _ in mine[:-1]:
        work.thin(order.lane, order.reason)
    return [one for at, one in enumerate(puts) if at not in mine[:-1]]


def move(tx: sqlite3.Connection, entry: Entry, target: str, reason: str, age: float) -> tuple[Written, Entry | None]:
    """Take a row from its lane, as dead, and put it into another one; None when the row is not there any more."""
    work = Work(tx, age)
    moved = None
    if work.end(entry.lane, entry.seq, "dead", ""):
        moved = work.store(target, entry.message, age, entry.attempts, reason)
    return work.finish(), moved


def expire(tx: sqlite3.Connection, lane: str, before: float, keep: frozenset[int], limit: int, age: float) -> Written:
    """End rows at the front of a lane that were put before that age, but for those in `keep`."""
    work = Work(tx, age)
    number, _ = work.lane(lane)
    gone = work.result.gone.setdefault(lane, set())
    for seq, enqueued in rows.first(tx, number, limit):
        if enqueued >= before:
            break
        if seq not in keep and work.end(lane, seq, "expired", ""):
            gone.add(seq)
    if gone:
        reach("before-prune")
    return work.finish()
