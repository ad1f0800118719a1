"""How a connection is opened: every pragma is set per connection and those that durability rests on are read back."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.database.faults import damaged, translate
from edge.errors import Unavailable
from edge.record import record

FULL = 2  # PRAGMA synchronous: WAL + NORMAL may roll back committed transactions on power loss (sqlite.org/wal.html)
AUTOCHECKPOINT = 1000
CACHE_KIB = 1024


@record
class Options:
    """How a file is opened.

    journal_mode: WAL, DELETE or MEMORY. busy_timeout: seconds a statement of the writer waits for another process's lock.
    page_size: bytes, for a file that is new. shrink: pages that a burst took are given back when nothing is written.
    pragmas: `name=value` texts of the operator, set last. read_only: never written. private: a new file is its owner's only.
    rescue: a damaged file is set aside and its rows go into a new one; salvager(new, path, complete) adds what SQLite could not read
    (inside a transaction; complete: SQLite read everything) and returns counts for the report.
    """

    journal_mode: str = "WAL"
    busy_timeout: float = 5.0
    page_size: int = 4096
    shrink: bool = False
    pragmas: tuple[str, ...] = ()
    read_only: bool = False
    private: bool = False
    rescue: bool = False
    salvager: Callable[[sqlite3.Connection, Path, bool], dict[str, int]] | None = None


DEFAULTS = Options()


def open_writer(target: str, path: str, options: Options) -> sqlite3.Connection:
    """The connection that writes. Raises Unavailable with file, reason and what to do."""
    if options.private:
        _make_private(path)
    connection = _connect(target, path)
    try:
        _configure(connection, path, options)
    except sqlite3.Error as error:
        connection.close()
        raise _refusal(error, path) from error
    except Unavailable:
        connection.close()
        raise
    return connection


def _make_private(path: str) -> None:
    """SQLite gives its WAL the file's mode. Where it cannot be made, opening it says why."""
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def open_reader(target: str, path: str, options: Options, *, busy_timeout: float = 0.0) -> sqlite3.Connection:
    """A connection that only reads; without a timeout it never waits for a lock."""
    connection = _connect(target, path)
    try:
        connection.execute(f"PRAGMA busy_timeout={int(busy_timeout * 1000)}")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        for pragma in options.pragmas:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA query_only=ON")
    except sqlite3.Error as error:
        connection.close()
        raise _refusal(error, path) from error
    return connection


def _connect(target: str, path: str) -> sqlite3.Connection:
    try:
        return sqlite3.connect(target, uri=True, isolation_level=None, check_same_thread=False, timeout=0, cached_statements=64)
    except sqlite3.Error as error:
        raise _refusal(error, path) from error


def _configure(connection: sqlite3.Connection, path: str, options: Options) -> None:
    pragma(connection, f"busy_timeout={int(options.busy_timeout * 1000)}")
    if not options.read_only:
        pragma(connection, f"page_size={options.page_size}")
        if options.rescue and pragma(connection, "application_id") == "0":
            pragma(connection, f"application_id={int.from_bytes(os.urandom(4), 'big') >> 1}")
        _journal_mode(connection, path, options.journal_mode)
        pragma(connection, f"wal_autocheckpoint={AUTOCHECKPOINT}")
    pragma(connection, f"synchronous={FULL}")
    pragma(connection, "foreign_keys=ON")
    pragma(connection, "secure_delete=OFF")  # Debian builds it ON: it would write zeros over every deleted row
    pragma(connection, "temp_store=MEMORY")
    pragma(connection, f"cache_size=-{CACHE_KIB}")
    for text in options.pragmas:
        pragma(connection, text)
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # a damaged or foreign file says so here, not at the first write


def _journal_mode(connection: sqlite3.Connection, path: str, wanted: str) -> None:
    got = pragma(connection, f"journal_mode={wanted}")
    if got.upper() != wanted:
        raise Unavailable(f"{path}: journal mode {wanted} is not possible here (it stays {got}); use a local, writable file system")
    if wanted == "WAL" and pragma(connection, f"synchronous={FULL}") and pragma(connection, "synchronous") != str(FULL):
        raise Unavailable(f"{path}: SQLite did not accept synchronous=FULL")


def pragma(connection: sqlite3.Connection, text: str) -> str:
    """Run a pragma; the first value it answers, as text."""
    row: tuple[Any, ...] | None = connection.execute(f"PRAGMA {text}").fetchone()
    return "" if row is None else str(row[0])


def _refusal(error: sqlite3.Error, path: str) -> Exception:
    neutral = translate(error, path)
    return damaged(path, str(error)) if neutral is error else neutral
