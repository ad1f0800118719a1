"""What people and tools do with a journal's file, beside a running daemon or without one: look, send again, drop, export, import.

Every function works on a connection that is not in a transaction; what changes is one transaction, counters included. A running daemon
sees it at `Journal.refresh`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from edge.database import tally
from edge.journal import rows
from edge.journal.entry import Entry
from edge.journal.outgoing import Work
from edge.model import NO_METADATA, LaneStats, Message

BUSY = 10.0
DEAD = "dead/"
PAGE = 500


class NoJournal(Exception):
    """The file cannot be used; the text says why and what to do."""


@dataclass(slots=True)
class LaneRow:
    """A lane, its numbers, and how long its oldest message waits (seconds of device-up time)."""

    number: int
    stats: LaneStats
    oldest: float = 0.0


@contextlib.contextmanager
def opened(file: Path, *, write: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection to a journal's file. Raises NoJournal."""
    if not file.is_file():
        raise NoJournal(f"{file}: there is no journal; name the app with --app-id, or the file with --file")
    try:
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode={'rw' if write else 'ro'}", uri=True, isolation_level=None, timeout=BUSY
        )
        with contextlib.closing(connection):
            connection.execute("SELECT id FROM journal_lane LIMIT 1").fetchall()
            connection.execute("PRAGMA synchronous=FULL")
            yield connection
    except sqlite3.Error as error:
        raise NoJournal(f"{file}: {error}; is it the edged.db of a data directory?") from error


def lanes(connection: sqlite3.Connection, pattern: str = "*") -> list[LaneRow]:
    """Lanes whose names match a shell pattern, by name."""
    found = []
    newest = connection.execute("SELECT max(age) FROM journal_lane").fetchone()[0] or 0.0
    for number, name, *numbers in connection.execute(f"SELECT id, name, {rows.NUMBERS} FROM journal_lane ORDER BY name").fetchall():
        if fnmatchcase(name, pattern):
            first = rows.first(connection, number, 1)
            found.append(LaneRow(number, rows.stats(name, numbers), max(0.0, newest - first[0][1]) if first else 0.0))
    return found


def numbers(connection: sqlite3.Connection, pattern: str = "*") -> list[LaneRow]:
    """`lanes`, and the numbers of what waits in the file outside the journal."""
    kept = [LaneRow(0, stats) for stats in tally.read(connection) if fnmatchcase(stats.lane, pattern)]
    return sorted(lanes(connection, pattern) + kept, key=lambda one: one.stats.lane)


def entries(connection: sqlite3.Connection, pattern: str = "*", limit: int = -1) -> Iterator[Entry]:
    """Rows of matching lanes in order, a page at a time."""
    sql = f"SELECT {rows.COLUMNS} FROM journal WHERE seq>? AND seq<? ORDER BY seq LIMIT ?"
    left = limit
    for lane in lanes(connection, pattern):
        at = rows.first_of(lane.number)
        while left and (
            page := connection.execute(sql, (at, rows.first_of(lane.number + 1), min(PAGE, left) if left > 0 else PAGE)).fetchall()
        ):
            for row in page:
                yield rows.entry(lane.stats.lane, row)[0]
            at, left = page[-1][0], left - len(page) if left > 0 else left


def find(connection: sqlite3.Connection, seqs: Sequence[int]) -> list[Entry]:
    """The rows of those numbers, in that order. Raises NoJournal for one that is not there."""
    names = {number: name for number, name in connection.execute("SELECT id, name FROM journal_lane")}
    found = []
    for seq in seqs:
        row = connection.execute(f"SELECT {rows.COLUMNS} FROM journal WHERE seq=?", (seq,)).fetchone()
        if row is None:
            raise NoJournal(f"there is no message {seq}; it may have been delivered meanwhile. `edged journal ls` shows what is there")
        found.append(rows.entry(names.get(seq >> rows.SHIFT, ""), row)[0])
    return found


def retry(connection: sqlite3.Connection, chosen: Iterable[Entry], to: str = "") -> int:
    """Put dead messages behind the others of the lane that they came from, or of lane `to`, with no attempts counted; how many."""
    with _transaction(connection) as work:
        count = 0
        for entry in chosen:
            target = to or entry.lane.removeprefix(DEAD)
            if target != entry.lane and work.end(entry.lane, entry.seq, "dropped", "sent again"):
                work.store(target, entry.message, work.age)
                count += 1
    return count


def drop(connection: sqlite3.Connection, chosen: Iterable[Entry], reason: str = "by hand") -> int:
    """Remove messages, counted by that reason; how many."""
    with _transaction(connection) as work:
        return sum(work.end(entry.lane, entry.seq, "dropped", reason) for entry in chosen)


def export(connection: sqlite3.Connection, pattern: str = "*") -> Iterator[str]:
    """One JSON text per message; `load` reads them."""
    for entry in entries(connection, pattern):
        yield json.dumps(document(entry), separators=(",", ":"))


def document(entry: Entry) -> dict[str, Any]:
    """A message with all that is known of it; data in base64."""
    message = entry.message
    return {
        "seq": entry.seq,
        "lane": entry.lane,
        "topic": message.topic,
        "id": message.id,
        "contentType": message.content_type,
        "metadata": dict(message.metadata),
        "attempts": entry.attempts,
        "enqueued": round(entry.enqueued, 3),
        "error": entry.error,
        "data": base64.b64encode(message.data).decode(),
    }


def parsed(line: str) -> Entry:
    """A message from a line of `export`. Raises ValueError."""
    try:
        given: Mapping[str, Any] = json.loads(line)
        data = base64.b64decode(given["data"], validate=True)
        metadata = dict(given.get("metadata") or NO_METADATA)
        message = Message(given["topic"], data, metadata or NO_METADATA, given.get("contentType"), given.get("id", ""))
        return Entry(int(given.get("seq", 0)), given["lane"], message, int(given.get("attempts", 0)), 0.0, 0.0, given.get("error", ""))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a message of `edged journal export`: {error}") from error


def load(connection: sqlite3.Connection, found: Iterable[Entry], to: str = "") -> tuple[int, int]:
    """Put messages behind those that are there, each into its lane or into lane `to`; how many, and how many were there already (same
    lane, id and payload).
    """
    there: dict[str, set[tuple[str, int]]] = {}
    with _transaction(connection) as work:
        stored = known = 0
        for entry in found:
            lane = to or entry.lane
            if lane not in there:
                there[lane] = {(one.message.id, hash(one.message.data)) for one in entries(connection, _literal(lane))}
            key = (entry.message.id, hash(entry.message.data))
            if entry.message.id and key in there[lane]:
                known += 1
                continue
            there[lane].add(key)
            work.store(lane, entry.message, work.age, entry.attempts, entry.error)
            stored += 1
    return stored, known


def _literal(name: str) -> str:
    """A pattern that matches that name only."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[Work]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        age = connection.execute("SELECT max(age) FROM journal_lane").fetchone()[0] or 0.0
        work = Work(connection, age)
        yield work
        work.finish()
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
