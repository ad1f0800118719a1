"""The messages that a local broker keeps for consumers that are away, and how far each consumer is. Tables in the daemon's own file.

Per topic the numbers add up (`edge.database.tally`, lanes `kept/<component>/<topic>`): they change in the transaction of the rows, so that
nothing is counted at a start.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import orjson

from edge.crash import reach
from edge.database import Database, tally
from edge.errors import Full
from edge.model import NO_METADATA, LaneStats, Message
from edge.record import record

log = logging.getLogger("dapr.contrib")
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
    # rows of before there were numbers are counted, once
    """
    INSERT OR IGNORE INTO tally(name, accepted, pending, bytes)
      SELECT 'kept/' || pubsub || '/' || topic, count(*), count(*), sum(length(data)) FROM pubsub_message GROUP BY pubsub, topic;
    """,
)
COLUMNS = "seq, topic, data, metadata, content_type, id"
COUNT = "SELECT 'kept/' || pubsub || '/' || topic, count(*), sum(length(data)) FROM pubsub_message WHERE pubsub=? GROUP BY topic"
OLDEST = "SELECT seq, length(data) FROM pubsub_message WHERE pubsub=? AND topic=? ORDER BY seq LIMIT ?"
AT_ONCE = 256
TELL_EVERY = 60.0
UNWANTED, GIVEN_UP, FULL = "nobody subscribed", "subscription given up", "full"
DELIVERED = ""
"""In place of a reason: everybody who wanted it has it."""

Consumer = tuple[str, str]
"""An app id and the topic (pattern) of its subscription."""
Fate = str
"""Why rows go: a reason by which they count as dropped, or DELIVERED."""


@record
class Bounds:
    """Most messages and payload bytes that are kept, 0 = no limit; and what happens beyond: reject, drop-oldest or drop-newest."""

    messages: int
    size_bytes: int
    when_full: str


class NoRoom(Exception):
    """Too little may go for the message to fit."""


class Log:
    """Of one component. discarded: messages dropped since the start."""

    def __init__(self, database: Database, pubsub: str, bounds: Bounds) -> None:
        self._database, self._pubsub, self._bounds = database, pubsub, bounds
        self._prefix = f"kept/{pubsub}/"
        self._count = self._bytes = 0
        self._told_at, self._untold = -TELL_EVERY, 0
        self.discarded = 0
        self.consumers: dict[Consumer, int] = {}
        """How far each known consumer is: the sequence number of the last message that it has."""
        self.lanes: dict[str, LaneStats] = {}
        """The numbers of each topic, equal to those on disk."""

    async def open(self) -> None:
        await self._database.migrate("tally", [tally.SCHEMA])
        await self._database.migrate("pubsub.sqlite", SCRIPTS)
        rows = await self._database.read("SELECT app, topic, seq FROM pubsub_consumer WHERE pubsub=?", self._pubsub)
        self.consumers = {(app, topic): seq for app, topic, seq in rows}
        if self._database.rescued is not None:
            await self.recount()
        self._load(self._database.view(lambda reader: tally.read(reader, self._prefix)))

    async def recount(self) -> None:
        """Something else changed the rows: the numbers become equal to them."""

        def unit(tx: sqlite3.Connection) -> list[LaneStats]:
            tally.recount(tx, self._prefix, tx.execute(COUNT, (self._pubsub,)).fetchall())
            return tally.read(tx, self._prefix)

        self._load(await self._database.write(unit))

    def _load(self, lanes: list[LaneStats]) -> None:
        self.lanes = {one.lane.removeprefix(self._prefix): one for one in lanes}
        self._count, self._bytes = sum(one.pending for one in lanes), sum(one.pending_bytes for one in lanes)

    # --- adding
    async def add(self, message: Message, live: Sequence[Consumer], free: Callable[[str], Mapping[str, Fate]]) -> None:
        """Keep a message. live: consumers that get it in another way, and need it no more from here.

        free: asked when it is full, with the message's topic, for topics whose messages nobody known waits for, and what becomes of
        those: they make room first. Raises Full.
        """
        if (short := self._database.short()) is not None:
            raise short
        size = len(message.data)
        more = self._excess(size)
        donors = self._donors(message.topic, free) if any(more) else {}
        self._count += 1 - more[0]  # what is about to go counts no more, so that the next one does not order it again
        self._bytes += size - more[1]
        written: list[LaneStats] = []
        try:
            written = await self._database.write(lambda tx: self._insert(tx, message, live, donors, more))
        except NoRoom:
            written = await self._refused(message)
        finally:
            self._count += more[0] - 1
            self._bytes += more[1] - size
            self._apply(written)

    def _insert(
        self, tx: sqlite3.Connection, message: Message, live: Sequence[Consumer], donors: Mapping[str, Fate], more: tuple[int, int]
    ) -> list[LaneStats]:
        changes = self._clear(tx, donors, *more) if any(more) else []
        cursor = tx.execute(
            "INSERT INTO pubsub_message (pubsub, topic, id, content_type, metadata, data) VALUES (?, ?, ?, ?, ?, ?)",
            (self._pubsub, message.topic, message.id, message.content_type, _pack(message.metadata), message.data),
        )
        seq = cursor.lastrowid or 0
        tx.executemany(UPDATE, [(seq, self._pubsub, *consumer) for consumer in live])
        changes.append(LaneStats(self._prefix + message.topic, accepted=1, pending=1, pending_bytes=len(message.data)))
        for change in changes:
            tally.change(tx, change)
        self._database.after_commit(lambda *_: self.consumers.update(dict.fromkeys(live, seq)))
        return changes

    def _excess(self, size: int) -> tuple[int, int]:
        """How many messages and bytes must go before one of that size fits."""
        most, most_bytes = self._bounds.messages, self._bounds.size_bytes
        return max(0, self._count + 1 - most) if most else 0, max(0, self._bytes + size - most_bytes) if most_bytes else 0

    def _donors(self, topic: str, free: Callable[[str], Mapping[str, Fate]]) -> dict[str, Fate]:
        """From which topics the oldest go, in that order."""
        donors = dict(free(topic))
        if self._bounds.when_full == "drop-oldest":
            longest = sorted(self.lanes, key=lambda name: -self.lanes[name].pending_bytes)
            donors |= {name: FULL for name in (topic, *longest) if name not in donors}
        return donors

    async def _refused(self, message: Message) -> list[LaneStats]:
        """The message finds no room: it is dropped, or its publisher is told."""
        if self._bounds.when_full != "drop-newest":
            raise Full(
                f"pubsub {self._pubsub} keeps {self._count} messages, {self._bytes} bytes for consumers that are away and is full; they "
                "have to take some first, or raise its maxMessages or maxBytes, or choose another whenFull"
            )
        change = LaneStats(self._prefix + message.topic, accepted=1, dropped={FULL: 1})
        await self._database.write(lambda tx: tally.change(tx, change))
        return [change]

    def _clear(self, tx: sqlite3.Connection, donors: Mapping[str, Fate], count: int, size: int) -> list[LaneStats]:
        """Remove the oldest rows of the topics in turn until so many messages and bytes are gone. Raises NoRoom."""
        changes: list[LaneStats] = []
        for topic, fate in donors.items():
            while count > 0 or size > 0:
                rows = tx.execute(OLDEST, (self._pubsub, topic, AT_ONCE)).fetchall()
                gone = []
                for seq, length in rows:
                    if count <= 0 and size <= 0:
                        break
                    gone.append((seq,))
                    count, size = count - 1, size - length
                tx.executemany("DELETE FROM pubsub_message WHERE seq=?", gone)
                changes.append(self._gone(topic, fate, len(gone), sum(length for _, length in rows[: len(gone)])))
                if len(rows) < AT_ONCE:
                    break
        if count > 0 or size > 0:
            raise NoRoom
        return changes

    def _gone(self, topic: str, fate: Fate, count: int, size: int) -> LaneStats:
        change = LaneStats(self._prefix + topic, pending=-count, pending_bytes=-size)
        if fate == DELIVERED:
            change.delivered = count
        elif count:
            change.dropped = {fate: count}
        return change

    # --- numbers
    def _apply(self, changes: Iterable[LaneStats]) -> None:
        """The numbers in memory become those on disk; what was dropped is said, at most once in TELL_EVERY."""
        for change in changes:
            topic = change.lane.removeprefix(self._prefix)
            self.lanes.setdefault(topic, LaneStats(change.lane)).add(change)
            self._count += change.pending
            self._bytes += change.pending_bytes
            dropped = sum(change.dropped.values())
            self.discarded += dropped
            self._untold += dropped
            if dropped and time.monotonic() - self._told_at >= TELL_EVERY:
                log.warning(
                    "pubsub %s dropped %d messages, the last of topic %s: %s; `edged journal stats` has the numbers",
                    self._pubsub, self._untold, topic, ", ".join(change.dropped),
                )  # fmt: skip
                self._told_at, self._untold = time.monotonic(), 0

    # --- reading
    def after(self, seq: int, topic: str | None, limit: int) -> list[tuple[int, Message]]:
        """Kept messages behind `seq` in order; topic None = of every topic."""
        where, parameters = ("", ()) if topic is None else (" AND topic=?", (topic,))
        query = f"SELECT {COLUMNS} FROM pubsub_message WHERE {'+' if topic is None else ''}pubsub=? AND seq>?{where} ORDER BY seq LIMIT ?"
        rows = self._database.read_now(query, self._pubsub, seq, *parameters, limit)
        return [(row[0], Message(row[1], row[2], _unpack(row[3]), row[4], row[5])) for row in rows]

    def waiting(self) -> Collection[str]:
        """Topics of which something is kept."""
        return [topic for topic, lane in self.lanes.items() if lane.pending]

    def kept_bytes(self, topic: str) -> int:
        """Payload bytes that are kept of a topic."""
        lane = self.lanes.get(topic)
        return lane.pending_bytes if lane is not None else 0

    async def reached(self, consumer: Consumer, seq: int) -> None:
        """The consumer has everything up to `seq`."""
        self.consumers[consumer] = seq
        sql = "INSERT OR REPLACE INTO pubsub_consumer VALUES (?, ?, ?, ?)"
        await self._database.write(lambda tx: tx.execute(sql, (self._pubsub, *consumer, seq)))

    async def prune(self, done: Mapping[str, tuple[int, Fate]]) -> None:
        """Per topic: remove what nobody needs any more, up to a number, and why."""

        def unit(tx: sqlite3.Connection) -> list[LaneStats]:
            changes = []
            for topic, (seq, fate) in done.items():
                where = (self._pubsub, topic, seq)
                sql = "SELECT count(*), coalesce(sum(length(data)), 0) FROM pubsub_message WHERE pubsub=? AND topic=? AND seq<=?"
                count, size = tx.execute(sql, where).fetchone()
                if count:
                    tx.execute("DELETE FROM pubsub_message WHERE pubsub=? AND topic=? AND seq<=?", where)
                    changes.append(self._gone(topic, fate, count, size))
                    tally.change(tx, changes[-1])
            if changes:
                reach("before-prune")
            return changes

        self._apply(await self._database.write(unit))

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
