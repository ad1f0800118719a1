"""What a further instance of an app left in its numbered folder goes on in the app's own: messages, state, due times.

The folder is held while that happens. Everything is written before the other file goes, and written once although a crash may come
between: messages by a key, rows because what is there stays.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from edge.database import Database, tally
from edge.errors import ComponentError
from edge.journal import Journal

log = logging.getLogger("dapr.runtime")
BATCH = 256
TABLES = {
    "state": "key, value, is_binary, etag, expiration_time, update_time",
    "schedule": "kind, key, due_ms, data, state",
    "pubsub_message": "pubsub, topic, id, content_type, metadata, data",
}
"""Tables of the daemon's own file, with the columns that go over; a row that is there already (by its key) wins."""
KEPT = "SELECT 'kept/' || pubsub || '/' || topic, count(*), sum(length(data)) FROM pubsub_message GROUP BY pubsub, topic"


async def adopt(orphans: Sequence[Path], database: Database, journal: Journal) -> None:
    """Take over what the folders hold; one that can't be read, or does not fit, stays as it is with an error in the log."""
    for folder in orphans:
        file = folder / "edged.db"
        if not file.exists():
            continue
        try:
            async with Database.open(file) as theirs, Journal.open(theirs) as left:
                messages = await _messages(left, journal)
                rows = await _rows(theirs, database)
        except ComponentError as error:
            log.error("%s: what an instance that ended left is not adopted: %s; it stays there", file, error)
            continue
        for suffix in ("-wal", "-shm", ""):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
        if messages or rows:
            log.info("Adopted %d messages and %d rows that an instance left in %s", messages, rows, folder)


async def _messages(left: Journal, journal: Journal) -> int:
    count = 0
    for lane in left.lanes():
        after = 0
        while entries := await left.peek(lane, BATCH, after):
            keys = [f"adopted/{lane}/{entry.seq}/{entry.message.id}" for entry in entries]
            await journal.put(lane, *(entry.message for entry in entries), keys=keys)
            after, count = entries[-1].seq, count + len(entries)
    return count


async def _rows(theirs: Database, database: Database) -> int:
    count = 0
    for table, columns in TABLES.items():
        if not (_has(theirs, table) and _has(database, table)):
            continue
        rows = theirs.read_now(f"SELECT {columns} FROM {table}")
        holes = ", ".join("?" * (columns.count(",") + 1))
        sql = f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({holes})"

        def unit(tx: sqlite3.Connection, table: str = table, sql: str = sql, rows: list[tuple[object, ...]] = rows) -> int:
            before = tx.total_changes
            tx.executemany(sql, rows)
            added = tx.total_changes - before
            if table == "pubsub_message":
                tally.recount(tx, "kept/", tx.execute(KEPT).fetchall())
            return added

        count += await database.write(unit) if rows else 0
    return count


def _has(database: Database, table: str) -> bool:
    return database.row_now("SELECT 1 FROM sqlite_master WHERE type='table' AND name=?", table) is not None
