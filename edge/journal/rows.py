"""The journal's tables and the statements on them; every function runs in the writer's thread, inside a unit of work.

A row's key is its lane's number and its number in the lane (`lane << 40 | n`), so that a lane is read in order without an index and a
commit touches few pages: the row's, and the lane's with its numbers. Rows carry a checksum for the day the file is damaged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

import orjson

from edge.journal.entry import Entry
from edge.model import NO_METADATA, LaneStats, Message

SCHEMA = """
CREATE TABLE journal_lane(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last INTEGER NOT NULL DEFAULT 0, age REAL NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0, expired INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0, dropped TEXT NOT NULL DEFAULT '{}', pending INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0);
CREATE TABLE journal(
    seq INTEGER PRIMARY KEY, sum INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, enqueued REAL NOT NULL, topic TEXT NOT NULL,
    id TEXT NOT NULL, content_type TEXT, metadata BLOB, error TEXT NOT NULL DEFAULT '', data BLOB NOT NULL);
CREATE TABLE journal_seen(key TEXT NOT NULL PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX journal_seen_until ON journal_seen(until);
"""
INSERT = "INSERT INTO journal(seq, sum, attempts, enqueued, topic, id, content_type, metadata, error, data) VALUES(?,?,?,?,?,?,?,?,?,?)"
INSERT_MISSING = INSERT.replace("INSERT", "INSERT OR IGNORE")
COLUMNS = "seq, sum, topic, data, metadata, content_type, id, attempts, enqueued, error"
NUMBERS = "accepted, delivered, expired, dead, dropped, pending, bytes"
ROW_BYTES = 64
BOUND = "outbox-"
"""How the ids of messages begin that are committed together with what they tell of (`Journal.put_in`)."""
SHIFT = 40
SIZE = f"length(data)+length(CAST(topic AS BLOB))+{ROW_BYTES}"
AMONG = "seq IN (SELECT value FROM json_each(?))"


def size_of(message: Message) -> int:
    """What a message counts against a lane's bytes: its payload, topic and a row's own cost."""
    topic = message.topic
    return len(message.data) + (len(topic) if topic.isascii() else len(topic.encode())) + ROW_BYTES


def first_of(lane: int) -> int:
    """The key before the lane's first row."""
    return lane << SHIFT


def lane_of(tx: sqlite3.Connection, name: str) -> tuple[int, int]:
    """The lane's number and the key of its last row so far; made when it is new."""
    row = tx.execute("SELECT id, last FROM journal_lane WHERE name=?", (name,)).fetchone()
    if row is not None:
        return row[0], first_of(row[0]) + row[1]
    made = tx.execute("INSERT INTO journal_lane(name) VALUES(?)", (name,)).lastrowid
    assert made is not None
    return made, first_of(made)


def checksum(topic: str, data: bytes, metadata: bytes | None, id_: str) -> int:
    """Of what must come through unchanged."""
    return crc32(metadata or b"", crc32(id_.encode(), crc32(topic.encode(), crc32(data))))


def insert(tx: sqlite3.Connection, seq: int, message: Message, enqueued: float, attempts: int = 0, error: str = "") -> None:
    """One row."""
    metadata = orjson.dumps(dict(message.metadata)) if message.metadata else None
    total = checksum(message.topic, message.data, metadata, message.id)
    values = (seq, total, attempts, enqueued, message.topic, message.id, message.content_type, metadata, error, message.data)
    tx.execute(INSERT, values)


def change(tx: sqlite3.Connection, lane: int, by: LaneStats, age: float, last: int = 0) -> None:
    """Change a lane's numbers. last: key of its newest row, 0 = as before. age: of the device, now."""
    number = last & (1 << SHIFT) - 1
    tx.execute(
        "UPDATE journal_lane SET last=max(last, ?), age=?, accepted=accepted+?, delivered=delivered+?, expired=expired+?, dead=dead+?, "
        "pending=pending+?, bytes=bytes+? WHERE id=?",
        (number, age, by.accepted, by.delivered, by.expired, by.dead, by.pending, by.pending_bytes, lane),
    )
    if by.dropped:
        (text,) = tx.execute("SELECT dropped FROM journal_lane WHERE id=?", (lane,)).fetchone()
        dropped: dict[str, int] = orjson.loads(text)
        for reason, count in by.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
        tx.execute("UPDATE journal_lane SET dropped=? WHERE id=?", (orjson.dumps(dropped).decode(), lane))


def delete(tx: sqlite3.Connection, seq: int) -> int | None:
    """Remove a row; its size, None when there was none."""
    row = tx.execute(f"DELETE FROM journal WHERE seq=? RETURNING {SIZE}", (seq,)).fetchone()
    return None if row is None else row[0]


def sizes(tx: sqlite3.Connection, seqs: Sequence[int]) -> tuple[int, int]:
    """How many of these rows are there, and their size."""
    found: tuple[int, int] = tx.execute(f"SELECT count(*), ifnull(sum({SIZE}), 0) FROM journal WHERE {AMONG}", (_listed(seqs),)).fetchone()
    return found


def delete_all(tx: sqlite3.Connection, seqs: Sequence[int]) -> None:
    """Remove rows by one statement: with one for each the writer would ask a busy loop for the interpreter as often."""
    tx.execute(f"DELETE FROM journal WHERE {AMONG}", (_listed(seqs),))


def _listed(seqs: Sequence[int]) -> str:
    return f"[{','.join(map(str, seqs))}]"


def oldest(tx: sqlite3.Connection, lane: int, limit: int) -> list[tuple[int, int]]:
    """Keys and sizes of the lane's first rows."""
    sql = f"SELECT seq, {SIZE} FROM journal WHERE seq>? AND seq<? ORDER BY seq LIMIT ?"
    return tx.execute(sql, (first_of(lane), first_of(lane + 1), limit)).fetchall()


def first(tx: sqlite3.Connection, lane: int, limit: int) -> list[tuple[int, float]]:
    """Keys and ages of the lane's first rows."""
    sql = "SELECT seq, enqueued FROM journal WHERE seq>? AND seq<? ORDER BY seq LIMIT ?"
    return tx.execute(sql, (first_of(lane), first_of(lane + 1), limit)).fetchall()


def remember(tx: sqlite3.Connection, key: str, age: float, until: float) -> bool:
    """Note a key until that age; False when it is known already."""
    sql = "INSERT INTO journal_seen VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET until=excluded.until WHERE until<?"
    return tx.execute(sql, (key, until, age)).rowcount == 1


def forget(tx: sqlite3.Connection, age: float, limit: int) -> None:
    """Drop some of the keys whose time is over."""
    sql = "DELETE FROM journal_seen WHERE key IN (SELECT key FROM journal_seen WHERE until<? ORDER BY until LIMIT ?)"
    tx.execute(sql, (age, limit))


def entry(lane: str, row: tuple[Any, ...]) -> tuple[Entry, bool]:
    """An entry from a row of COLUMNS, and whether it is what was put."""
    seq, total, topic, data, metadata, content_type, id_, attempts, enqueued, error = row
    sound = total == checksum(topic, data, metadata, id_)
    found: Mapping[str, str] = orjson.loads(metadata) if metadata and sound else NO_METADATA
    return Entry(seq, lane, Message(topic, data, found, content_type, id_), attempts, 0.0, enqueued, error), sound


def stats(name: str, row: Iterable[Any]) -> LaneStats:
    """A lane's numbers from NUMBERS."""
    accepted, delivered, expired, dead, dropped, pending, size = row
    return LaneStats(name, accepted, delivered, expired, dead, orjson.loads(dropped), pending, size)
