"""What waits for the journal's next commit: messages to store, rows to remove; and the unit that does both."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from edge.crash import reach
from edge.journal import rows
from edge.journal.entry import Entry
from edge.model import Message


@dataclass(slots=True)
class Put:
    """Messages of one caller. enqueued: age of the device."""

    puts: Sequence[tuple[str, Message]]
    held: bool
    enqueued: float
    future: asyncio.Future[list[Entry]]


@dataclass(slots=True)
class Removal:
    """A row that reached its end. how: delivered, expired or dropped (then with a reason)."""

    seq: int
    lane: str
    size: int
    how: str
    reason: str = ""


def write_all(tx: sqlite3.Connection, puts: Sequence[Put], removals: Sequence[Removal]) -> list[list[Entry]]:
    """Store and remove in one go; each lane's numbers change once."""
    numbers: dict[str, int] = {}
    totals: dict[int, list[int]] = {}
    stored: list[list[Entry]] = []
    for put in puts:
        entries = []
        for name, message in put.puts:
            lane = numbers.get(name) or numbers.setdefault(name, rows.lane_id(tx, name))
            seq = rows.insert(tx, lane, message, put.enqueued)
            entries.append(Entry(seq, name, message, 0, 0.0, put.enqueued))
            total = totals.setdefault(lane, [0, 0])
            total[0] += 1
            total[1] += rows.size_of(message)
        stored.append(entries)
    for lane, (count, size) in totals.items():
        rows.count(tx, lane, count, size, accepted=count)
    remove_all(tx, removals)
    reach("before-journal-commit")
    return stored


def remove_all(tx: sqlite3.Connection, removals: Sequence[Removal]) -> None:
    """Delete the rows and count their ends, per lane."""
    by_lane: dict[str, list[Removal]] = {}
    for removal in removals:
        by_lane.setdefault(removal.lane, []).append(removal)
    for name, gone in by_lane.items():
        lane = rows.lane_id(tx, name)
        rows.delete(tx, (removal.seq for removal in gone))
        delivered = sum(removal.how == "delivered" for removal in gone)
        expired = sum(removal.how == "expired" for removal in gone)
        rows.count(tx, lane, -len(gone), -sum(removal.size for removal in gone), delivered=delivered, expired=expired)
        reasons: dict[str, int] = {}
        for removal in gone:
            if removal.how == "dropped":
                reasons[removal.reason] = reasons.get(removal.reason, 0) + 1
        for reason, number in reasons.items():
            rows.count_dropped(tx, lane, reason, number)
