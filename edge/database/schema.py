"""Whose tables stand at which level: each user of the file brings its scripts, which only ever go forward."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from edge.crash import reach
from edge.database.faults import Newer

TABLE = "CREATE TABLE IF NOT EXISTS edged_schema (name TEXT NOT NULL PRIMARY KEY, level INTEGER NOT NULL) WITHOUT ROWID"


def migrate(tx: sqlite3.Connection, path: str, name: str, scripts: Sequence[str]) -> None:
    """Run the scripts above the level of `name`; all or nothing with the transaction around it. Raises Newer."""
    tx.execute(TABLE)
    row = tx.execute("SELECT level FROM edged_schema WHERE name=?", (name,)).fetchone()
    level = row[0] if row else 0
    if level > len(scripts):
        raise Newer(
            f"{path}: its {name} tables have level {level}, this edged knows {len(scripts)}: a newer edged wrote the file. "
            "It was left as it is; run that version, or give another --data-dir"
        )
    for script in scripts[level:]:
        for statement in _statements(script):
            _run(tx, statement)
            reach("in-migration")
    if level < len(scripts):
        tx.execute("INSERT OR REPLACE INTO edged_schema VALUES (?, ?)", (name, len(scripts)))


def _run(tx: sqlite3.Connection, statement: str) -> None:
    try:
        tx.execute(statement)
    except sqlite3.OperationalError as error:
        if not any(text in str(error) for text in ("already exists", "duplicate column")):  # as after a rescue that saved the table
            raise


def _statements(script: str) -> list[str]:
    """A script's statements; executescript() would commit the transaction around them."""
    found, rest = [], ""
    for piece in script.split(";"):
        rest += piece
        if sqlite3.complete_statement(rest + ";"):
            found.append(rest.strip())
            rest = ""
        else:
            rest += ";"
    return [statement for statement in found if statement]
