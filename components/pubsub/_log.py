"""The messages that a local broker keeps for consumers that are away, and how far each consumer is. Tables in the daemon's own file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import orjson

from edge.database import Database
from edge.model import NO_METADATA, Message

SCRIPTS = (
    """
    CREATE TABLE pubsub_message (
      seq INTEGER PRIMARY KEY AUTOINCREMENT, pubsub TEXT NOT NULL, topic TEXT NOT NULL, id TEXT NOT NULL, content_type TEXT,
      metadata TEXT, data BLOB NOT NULL
    );
    CREATE INDEX pubsub_message_topic ON pubsub_message (pubsub, topic, seq);
    CREATE TABLE pubsub_consumer (
      pubsub TEXT NOT NULL, app TEXT NOT NULL, topic TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (pubsub, app, topic)
    ) WITHOUT ROWID;
    """,
)
COLUMNS = "seq, topic, data, metadata, content_type, id"
TRIM = 64

Consumer = tuple[str, str]
"""An app id and the topic (pattern) of its subscription."""


class Log:
    """Of one component. most_messages, most_bytes (of payloads): beyond them the oldest go."""

    def __init__(self, database: Database, pubsub: str, most_messages: int, most_bytes: int) -> None:
        self._database, self._pubsub = database, pubsub
        self._most_messages, self._most_bytes = most_messages, most_bytes
        self._count = self._bytes = 0
        self.discarded = 0
        self.consumers: dict[Consumer, int] = {}
        """How far each known consumer is: the sequence number of the last message that it has."""

    async def open(self) -> None:
        await self._database.migrate("pubsub.sqlite", SCRIPTS)
        rows = await self._database.read("SELECT app, topic, seq FROM pubsub_consumer WHERE pubsub=?", self._pubsub)
        self.consumers = {(app, topic): seq for app, topic, seq in rows}
        if not await self._database.read("SELECT 1 FROM pubsub_message LIMIT 1"):
            return  # nothing to add up: no scanner thread at the start of most daemons
        query = "SELECT count(*), coalesce(sum(length(data)), 0) FROM pubsub_message WHERE pubsub=?"
        ((self._count, self._bytes),) = await self._database.scan(query, self._pubsub)

    async def add(self, message: Message, live: Sequence[Consumer]) -> int:
        """Keep a message; its number. live: consumers that get it in another way, and need it no more from here."""
        self._count += 1
        self._bytes += len(message.data)
        full = self._count > self._most_messages or self._bytes > self._most_bytes

        def unit(tx: sqlite3.Connection) -> tuple[int, int, int]:
            cursor = tx.execute(
                "INSERT INTO pubsub_message (pubsub, topic, id, content_type, metadata, data) VALUES (?, ?, ?, ?, ?, ?)",
                (self._pubsub, message.topic, message.id, message.content_type, _pack(message.metadata), message.data),
            )
            seq = cursor.lastrowid or 0
            tx.executemany(UPDATE, [(seq, self._pubsub, *consumer) for consumer in live])
            return seq, *(self._trim(tx) if full else (0, 0))

        seq, gone, gone_bytes = await self._database.write(unit)
        self._count -= gone
        self._bytes -= gone_bytes
        self.discarded += gone
        self.consumers.update(dict.fromkeys(live, seq))
        return seq

    def _trim(self, tx: sqlite3.Connection) -> tuple[int, int]:
        oldest = tx.execute("SELECT seq, length(data) FROM pubsub_message WHERE pubsub=? ORDER BY seq LIMIT ?", (self._pubsub, TRIM))
        rows, gone, size = oldest.fetchall(), 0, 0
        while gone < len(rows) - 1 and (self._count - gone > self._most_messages or self._bytes - size > self._most_bytes):
            size += rows[gone][1]
            gone += 1
        tx.executemany("DELETE FROM pubsub_message WHERE seq=?", [(seq,) for seq, _ in rows[:gone]])
        return gone, size

    def after(self, seq: int, topic: str | None, limit: int) -> list[tuple[int, Message]]:
        """Kept messages behind `seq` in order; topic None = of every topic."""
        where, parameters = ("", ()) if topic is None else (" AND topic=?", (topic,))
        query = f"SELECT {COLUMNS} FROM pubsub_message WHERE pubsub=? AND seq>?{where} ORDER BY seq LIMIT ?"
        rows = self._database.read_now(query, self._pubsub, seq, *parameters, limit)
        return [(row[0], Message(row[1], row[2], _unpack(row[3]), row[4], row[5])) for row in rows]

    async def reached(self, consumer: Consumer, seq: int, *, prune: bool) -> None:
        """The consumer has everything up to `seq`. prune: what no known consumer needs any more goes."""
        self.consumers[consumer] = seq
        done = min(self.consumers.values()) if prune else 0

        def unit(tx: sqlite3.Connection) -> tuple[int, int]:
            tx.execute("INSERT OR REPLACE INTO pubsub_consumer VALUES (?, ?, ?, ?)", (self._pubsub, *consumer, seq))
            gone = tx.execute(
                "DELETE FROM pubsub_message WHERE pubsub=? AND seq<=? RETURNING length(data)", (self._pubsub, done)
            ).fetchall()
            return len(gone), sum(size for (size,) in gone)

        gone, gone_bytes = await self._database.write(unit)
        self._count -= gone
        self._bytes -= gone_bytes

    async def forget(self, consumer: Consumer) -> None:
        """Nothing is kept for it any more."""
        self.consumers.pop(consumer, None)
        query = "DELETE FROM pubsub_consumer WHERE pubsub=? AND app=? AND topic=?"
        await self._database.write(lambda tx: tx.execute(query, (self._pubsub, *consumer)))

    def last(self) -> int:
        """The highest number given so far."""
        row = self._database.row_now("SELECT seq FROM sqlite_sequence WHERE name='pubsub_message'")
        return row[0] if row else 0


UPDATE = "UPDATE pubsub_consumer SET seq=? WHERE pubsub=? AND app=? AND topic=?"


def _pack(metadata: Mapping[str, str]) -> str | None:
    return orjson.dumps(dict(metadata)).decode() if metadata else None


def _unpack(text: str | None) -> Mapping[str, str]:
    return orjson.loads(text) if text else NO_METADATA
