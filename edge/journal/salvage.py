"""The journal's rows out of a damaged file: known by their shape, trusted by their checksum; the lanes' numbers made true again."""

from __future__ import annotations

import re
import sqlite3
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from edge.database import schema
from edge.database.pages import Pages
from edge.database.rescue import doubted, known_rows
from edge.journal import rows

LANE_NAME = re.compile(r"(dead/)*(outbox|(out|in)(-[a-z]+)?)/.")
LOST = "lost/{}"
"""The lane of rows whose lane's name could not be read: `edged journal retry --to` gives them a new one."""


def salvage(tx: sqlite3.Connection, damaged: Path, complete: bool) -> dict[str, int]:
    """Add what SQLite did not find in `damaged`, drop rows whose checksum is wrong, count anew. complete: SQLite read every table."""
    schema.migrate(tx, str(damaged), "journal", [rows.SCHEMA])
    wrong = _drop_wrong(tx)
    found = 0 if complete else _scan(tx, damaged)
    _name_lanes(tx)
    return {"found by scanning": found, "with a wrong checksum": wrong, "missing": _recount(tx)}


def _drop_wrong(tx: sqlite3.Connection) -> int:
    tx.create_function("edged_sum", 4, lambda topic, data, metadata, id_: rows.checksum(topic, data, metadata, id_), deterministic=True)
    return tx.execute("DELETE FROM journal WHERE sum IS NOT edged_sum(topic, data, metadata, id)").rowcount


def _scan(tx: sqlite3.Connection, damaged: Path) -> int:
    found = 0
    late = ((rowid, values) for rowid, values in Pages(damaged, late=True).late_rows() if not _is_bound(values))
    settled = bool(doubted(damaged)) and not _holds(Path(f"{damaged}-wal"))
    pages = Pages(damaged)
    pages.known = known_rows(tx, "journal")
    for rowid, values in chain(pages.rows(settled=settled), late):
        if _is_entry(values):
            found += tx.execute(rows.INSERT_MISSING, (rowid, *values[1:])).rowcount
        elif _is_lane(values):
            tx.execute(LANE_MISSING, (rowid, *values[1:]) if _sane(values) else (rowid, values[1], *NO_NUMBERS))
    return found


def _holds(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


LANE_MISSING = "INSERT OR IGNORE INTO journal_lane VALUES(?,?,?,?,?,?,?,?,?,?,?)"


def _is_entry(values: tuple[Any, ...]) -> bool:
    if len(values) != 10 or values[0] is not None:
        return False
    _, total, _, _, topic, id_, _, metadata, _, data = values
    if not (isinstance(topic, str) and isinstance(id_, str) and isinstance(data, bytes) and isinstance(metadata, bytes | None)):
        return False
    return bool(total == rows.checksum(topic, data, metadata, id_))


def _is_bound(values: tuple[Any, ...]) -> bool:
    """A row that exists if and only if its transaction does: nobody may hear of it unless that was committed."""
    return len(values) == 10 and isinstance(values[5], str) and values[5].startswith(rows.BOUND)


def _is_lane(values: tuple[Any, ...]) -> bool:
    return len(values) == 11 and values[0] is None and isinstance(values[1], str) and LANE_NAME.match(values[1]) is not None


def _sane(values: tuple[Any, ...]) -> bool:
    """The lane's numbers are numbers."""
    *_, dropped, pending, size = values
    if not (isinstance(dropped, str) and all(isinstance(one, int | float) and one >= 0 for one in (*values[2:8], pending, size))):
        return False
    try:
        return all(isinstance(count, int) for count in orjson.loads(dropped).values())
    except (ValueError, AttributeError):
        return False


NO_NUMBERS = (0, 0.0, 0, 0, 0, 0, "{}", 0, 0)


def _name_lanes(tx: sqlite3.Connection) -> None:
    """Every row needs a lane, and a lane's counter must stand behind its last row."""
    numbers, at = [], 0
    while (row := tx.execute("SELECT min(seq) FROM journal WHERE seq>=?", (rows.first_of(at),)).fetchone()[0]) is not None:
        numbers.append(row >> rows.SHIFT)
        at = numbers[-1] + 1
    for number in numbers:
        tx.execute("INSERT OR IGNORE INTO journal_lane(id, name) VALUES(?, ?)", (number, LOST.format(number)))
        newest = "SELECT max(seq) FROM journal WHERE seq>? AND seq<?"
        (last,) = tx.execute(newest, (rows.first_of(number), rows.first_of(number + 1))).fetchone()
        tx.execute("UPDATE journal_lane SET last=max(last, ?) WHERE id=?", (last & (1 << rows.SHIFT) - 1, number))


def _reasons(text: Any) -> dict[str, int]:
    try:
        found = orjson.loads(text)
    except ValueError:
        return {}
    return {str(reason): count for reason, count in found.items() if isinstance(count, int)} if isinstance(found, dict) else {}


def _recount(tx: sqlite3.Connection) -> int:
    """Numbers equal to the rows: what is missing counts as dropped, reason "damaged"; what is back after its end as accepted again."""
    missing = 0
    for number, pending, dropped in tx.execute("SELECT id, pending, dropped FROM journal_lane").fetchall():
        size = f"SELECT count(*), coalesce(sum({rows.SIZE}), 0) FROM journal WHERE seq>? AND seq<?"
        count, total = tx.execute(size, (rows.first_of(number), rows.first_of(number + 1))).fetchone()
        gone = max(0, pending - count)
        missing += gone
        reasons = _reasons(dropped)
        if gone:
            reasons["damaged"] = reasons.get("damaged", 0) + gone
        values = (max(0, count - pending), count, total, orjson.dumps(reasons).decode(), number)
        tx.execute("UPDATE journal_lane SET accepted=accepted+?, pending=?, bytes=?, dropped=? WHERE id=?", values)
    return missing
