"""The journal's tables and the statements on them; every function runs in the writer's thread, inside a unit of work."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from edge.journal.entry import Entry, LaneStats
from edge.model import NO_METADATA, Message

SCHEMA = """
CREATE TABLE journal_lane(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, accepted INTEGER NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0,
    expired INTEGER NOT NULL DEFAULT 0, dead INTEGER NOT NULL DEFAULT 0, dropped TEXT NOT NULL DEFAULT '{}',
    pending INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0);
CREATE TABLE journal(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, lane INTEGER NOT NULL, topic TEXT NOT NULL, data BLOB NOT NULL, metadata BLOB,
    content_type TEXT, id TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0, enqueued REAL NOT NULL,
    error TEXT NOT NULL DEFAULT '');
CREATE INDEX journal_lane_seq ON journal(lane, seq);
"""
INSERT = "INSERT INTO journal(lane, topic, data, metadata, content_type, id, attempts, enqueued, error) VALUES(?,?,?,?,?,?,?,?,?)"
COLUMNS = "seq, topic, data, metadata, content_type, id, attempts, due, enqueued, error"
ROW_BYTES = 64


def size_of(message: Message) -> int:
    """What a message counts against a lane's bytes: its payload, topic and a row's own cost."""
    return len(message.data) + len(message.topic) + ROW_BYTES


def lane_id(tx: sqlite3.Connection, name: str) -> int:
    """The lane's number; made when it is new."""
    row = tx.execute("SELECT id FROM journal_lane WHERE name=?", (name,)).fetchone()
    if row is not None:
        return int(row[0])
    made = tx.execute("INSERT INTO journal_lane(name) VALUES(?)", (name,)).lastrowid
    assert made is not None
    return made


def insert(tx: sqlite3.Connection, lane: int, message: Message, enqueued: float, attempts: int = 0, error: str = "") -> int:
    """One row; its seq."""
    metadata = orjson.dumps(dict(message.metadata)) if message.metadata else None
    values = (lane, message.topic, message.data, metadata, message.content_type, message.id, attempts, enqueued, error)
    seq = tx.execute(INSERT, values).lastrowid
    assert seq is not None
    return seq


def count(tx: sqlite3.Connection, lane: int, entries: int, size: int, accepted: int = 0, **counters: int) -> None:
    """Change a lane's numbers: pending and bytes by what is given, and any of delivered, expired, dead."""
    sets = "".join(f", {name}={name}+{int(number)}" for name, number in counters.items())
    tx.execute(
        f"UPDATE journal_lane SET accepted=accepted+?, pending=pending+?, bytes=max(0, bytes+?){sets} WHERE id=?",
        (accepted, entries, size, lane),
    )


def count_dropped(tx: sqlite3.Connection, lane: int, reason: str, number: int = 1) -> None:
    row = tx.execute("SELECT dropped FROM journal_lane WHERE id=?", (lane,)).fetchone()
    dropped: dict[str, int] = orjson.loads(row[0]) if row else {}
    dropped[reason] = dropped.get(reason, 0) + number
    tx.execute("UPDATE journal_lane SET dropped=? WHERE id=?", (orjson.dumps(dropped).decode(), lane))


def delete(tx: sqlite3.Connection, seqs: Iterable[int]) -> int:
    """Remove rows; how many were there."""
    return tx.executemany("DELETE FROM journal WHERE seq=?", [(seq,) for seq in seqs]).rowcount


def entry(lane: str, row: tuple[Any, ...]) -> Entry:
    """An entry from a row of COLUMNS."""
    seq, topic, data, metadata, content_type, id_, attempts, due, enqueued, error = row
    found: Mapping[str, str] = orjson.loads(metadata) if metadata else NO_METADATA
    return Entry(seq, lane, Message(topic, data, found, content_type, id_), attempts, due, enqueued, error)


def stats(name: str, row: tuple[Any, ...]) -> LaneStats:
    """A lane's numbers from (accepted, delivered, expired, dead, dropped, pending, bytes)."""
    accepted, delivered, expired, dead, dropped, pending, size = row
    return LaneStats(name, accepted, delivered, expired, dead, orjson.loads(dropped), pending, size)
