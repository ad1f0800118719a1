"""Numbers of what waits in the daemon's file outside the journal, by name: the same equation, kept in the transaction of each change."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import orjson

from edge.model import LaneStats

SCHEMA = """
CREATE TABLE tally(
    name TEXT PRIMARY KEY, accepted INTEGER NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0, expired INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0, dropped TEXT NOT NULL DEFAULT '{}', pending INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
"""
COLUMNS = "name, accepted, delivered, expired, dead, dropped, pending, bytes"
UPSERT = (
    f"INSERT INTO tally({COLUMNS}) VALUES(?,?,?,?,?,?,?,?) ON CONFLICT(name) DO UPDATE SET accepted=accepted+excluded.accepted, "
    "delivered=delivered+excluded.delivered, expired=expired+excluded.expired, dead=dead+excluded.dead, dropped=excluded.dropped, "
    "pending=pending+excluded.pending, bytes=bytes+excluded.bytes"
)


def change(tx: sqlite3.Connection, by: LaneStats) -> None:
    """Add to the numbers of `by.lane`."""
    dropped = dict(by.dropped)
    if (row := tx.execute("SELECT dropped FROM tally WHERE name=?", (by.lane,)).fetchone()) is not None:
        for reason, count in orjson.loads(row[0]).items():
            dropped[reason] = dropped.get(reason, 0) + count
    text = orjson.dumps(dropped).decode()
    tx.execute(UPSERT, (by.lane, by.accepted, by.delivered, by.expired, by.dead, text, by.pending, by.pending_bytes))


def read(connection: sqlite3.Connection, prefix: str = "") -> list[LaneStats]:
    """The numbers whose name starts with `prefix`, by name; none where the table is not there yet."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE type='table' AND name='tally'").fetchone() is None:
        return []
    sql = f"SELECT {COLUMNS} FROM tally WHERE name>=? ORDER BY name"
    found = []
    for name, accepted, delivered, expired, dead, dropped, pending, size in connection.execute(sql, (prefix,)):
        if not name.startswith(prefix):
            break
        found.append(LaneStats(name, accepted, delivered, expired, dead, orjson.loads(dropped), pending, size))
    return found


def recount(tx: sqlite3.Connection, prefix: str, there: Iterable[tuple[str, int, int]]) -> None:
    """Make the numbers equal to the rows that are there (name, rows, bytes) after a rescue or an adoption.

    Rows that nobody counted are accepted now; what is missing counts as dropped, reason "damaged".
    """
    found = {name: (count, size) for name, count, size in there}
    known = {one.lane: one for one in read(tx, prefix)}
    for name in found.keys() | known.keys():
        count, size = found.get(name, (0, 0))
        before = known.get(name) or LaneStats(name)
        more = count - before.pending
        if more or size != before.pending_bytes:
            dropped = {"damaged": -more} if more < 0 else {}
            change(tx, LaneStats(name, max(0, more), dropped=dropped, pending=more, pending_bytes=size - before.pending_bytes))
