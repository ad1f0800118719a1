"""A damaged file never blocks a start: it is set aside, never deleted, and what can be read goes into a new one.

The new file is finished as `<file>.rescued` before the damaged one is moved to `damaged/<n>/`; a crash in between only does it again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge.crash import reach
from edge.database.connection import Options, open_writer
from edge.database.faults import Damaged, no_file, translate
from edge.database.pages import DB_HEAD, MAGIC, Pages
from edge.database.wal import Frame, frames
from edge.errors import Full, Unavailable

log = logging.getLogger("edged.database")
CHECKED_BYTES = 4 << 20
"""Files up to this size are checked at every start; up to UNCLEAN_BYTES after a crash; larger ones only where they are read."""
UNCLEAN_BYTES = 32 << 20
MOST_PROBES = 2000
APPLICATION_ID = 68
SUFFIXES = ("", "-wal", "-shm")
DOUBT = ".doubt"
"""Beside the file: a page of it could not be read while it was in use, so it is checked as a whole when it is opened next."""


@dataclass(slots=True)
class Report:
    """What happened. place: where the damaged file is now. rows: table → rows that were saved. notes: of the salvager, by name."""

    file: str
    reason: str
    place: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    complete: bool = True
    seconds: float = 0.0

    def __str__(self) -> str:
        saved = ", ".join(f"{table} {count}" for table, count in sorted(self.rows.items()) if count) or "nothing"
        notes = "".join(f", {name} {count}" for name, count in sorted(self.notes.items()) if count)
        return f"{self.file} was damaged: {self.reason}. It was set aside as {self.place}; saved rows: {saved}{notes}"


def open_sound(target: str, path: str, options: Options) -> tuple[sqlite3.Connection, Report | None]:
    """The writer's connection to a file that can be used, whatever was there before. Raises what `open_writer` raises but Damaged."""
    file = Path(path)
    for suffix in (*SUFFIXES, ".rescued"):
        if wrong := no_file(f"{path}{suffix}"):
            raise Unavailable(wrong)
    _finish(file)
    began = time.monotonic()
    foreign = _set_wal_aside(file, began) if _foreign(file) else None
    unclean, doubt = _size(_beside(file, "-wal")) > 0, doubted(file)
    reason = suspicious(file) or _ailing(file, unclean or foreign is not None, whole=bool(doubt))
    if doubt and not reason:
        log.warning("%s: %s, yet the whole file is sound now; check the disk", file, doubt)
    if not reason:
        try:
            connection = open_writer(target, path, options)
        except Damaged as error:
            reason = str(error)
        else:
            _beside(file, DOUBT).unlink(missing_ok=True)
            return connection, _torn(connection, file, options, began) if unclean else foreign
    found = _rescue(target, file, options, reason, began)
    _beside(file, DOUBT).unlink(missing_ok=True)
    return found


def doubt(file: Path, why: str) -> None:
    """Leave word that the whole file is to be checked when it is opened next, whatever its size."""
    with contextlib.suppress(OSError):  # then small files are checked all the same
        _beside(file, DOUBT).write_text(why)


def doubted(file: Path) -> str:
    """Why somebody left such word, "" = nobody did."""
    try:
        return _beside(file, DOUBT).read_text(errors="replace") or "a page could not be read"
    except OSError:
        return ""


def suspicious(file: Path) -> str:
    """What is wrong with the file at first sight, "" = nothing."""
    if _size(file) <= 0:
        return "it is missing, its WAL is there" if _size(_beside(file, "-wal")) > 0 else ""
    head = _head(file)
    if head.startswith(MAGIC):
        return ""
    return "it is no SQLite database" + ("" if head.strip(b"\0") else " (null bytes)")


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(DB_HEAD)


def _foreign(file: Path) -> bool:
    """A WAL of another database would be rolled forward into this one: page 1 in it has another application id."""
    wal = _beside(file, "-wal")
    if _size(wal) <= 0 or _size(file) <= 0:
        return False
    head, data = _head(file), wal.read_bytes()
    ids = {data[at + APPLICATION_ID : at + APPLICATION_ID + 4] for number, at, _ in frames(data) if number == 1}
    return head.startswith(MAGIC) and bool(ids) and head[APPLICATION_ID : APPLICATION_ID + 4] not in ids


def _set_wal_aside(file: Path, began: float) -> Report:
    folder = _place(file)
    for suffix in SUFFIXES[1:]:
        with contextlib.suppress(FileNotFoundError):
            _beside(file, suffix).rename(folder / f"{file.name}{suffix}")
    return _told(Report(str(file), "its WAL belongs to another database", str(folder), complete=False), folder, began)


def _ailing(file: Path, unclean: bool, *, whole: bool = False) -> str:
    """What SQLite finds wrong. The connection only reads: one that writes would change a damaged file when it is closed."""
    size = _size(file)
    if size <= 0 or (size > (UNCLEAN_BYTES if unclean else CHECKED_BYTES) and not whole):
        return ""
    check = "integrity_check" if whole and size <= UNCLEAN_BYTES else "quick_check"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{_uri(file)}?mode=ro", uri=True)) as connection:
            (verdict,) = connection.execute(f"PRAGMA {check}(1)").fetchone()
    except sqlite3.Error as error:
        return str(error) if isinstance(translate(error, str(file)), Damaged) else ""
    return "" if verdict == "ok" else str(verdict).replace("\n", " ")


def _torn(connection: sqlite3.Connection, file: Path, options: Options, began: float) -> Report | None:
    """Commits in the WAL behind a frame that cannot be read: SQLite drops them; rows that are known by a checksum are saved."""
    wal = _beside(file, "-wal")
    try:
        (_, valid, _) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.Error:  # no room: the WAL stays as it is, and so does what stands behind it
        return None
    if valid < 0:  # a tool is at it: SQLite does not say how far it can read
        return None
    data = wal.read_bytes()
    behind = [frame for at, frame in enumerate(frames(data)) if at >= valid]
    report = _behind(connection, file, options, data, behind) if any(commit for *_, commit in behind) else None
    if behind:  # else the next commits leave some of these frames behind them, for the next start to wonder about
        with contextlib.suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return None if report is None else _told(report, Path(report.place), began)


def _behind(connection: sqlite3.Connection, file: Path, options: Options, data: bytes, behind: list[Frame]) -> Report | None:
    folder = _place(file)
    copy = folder / file.name
    _beside(copy, "-wal").write_bytes(data)
    report = Report(str(file), f"{len(behind)} pages at the end of its WAL could not be read", str(folder), complete=False)
    connection.execute("BEGIN IMMEDIATE")
    report.notes = _salvaged(connection, copy, options, complete=False)
    connection.execute("COMMIT")
    if sum(commit > 0 for *_, commit in behind) > 1 or any(report.notes.values()):
        return report
    _discard(copy)  # the last commit was being written when the power went: nobody had been told that it was there
    _leave(folder)
    return None


def _salvaged(connection: sqlite3.Connection, file: Path, options: Options, *, complete: bool) -> dict[str, int]:
    """What the salvager did; nothing that it stumbles over in a damaged file keeps the daemon from starting."""
    if options.salvager is None:
        return {}
    connection.execute("SAVEPOINT salvage")
    try:
        return options.salvager(connection, file, complete)
    except (sqlite3.Error, ValueError, TypeError, LookupError, ArithmeticError, struct.error):
        log.exception("%s: salvaging stumbled; what was found so far is dropped, the damaged file stays", file)
        connection.execute("ROLLBACK TO salvage")
        return {"salvage failed": 1}


def _rescue(target: str, file: Path, options: Options, reason: str, began: float) -> tuple[sqlite3.Connection, Report]:
    report = Report(str(file), reason)
    new = _beside(file, ".rescued")
    _discard(new)
    try:
        connection = open_writer(f"file:{_uri(new)}", str(new), options)
        try:
            _fill(connection, file, options, report)
        finally:
            connection.close()
    except Full as error:
        report.complete = False
        report.reason += f"; nothing could be copied: {error}"
        _discard(new)
    reach("in-salvage")
    folder = _place(file)
    report.place = str(folder)
    for suffix in SUFFIXES:  # the file first: see _finish
        with contextlib.suppress(FileNotFoundError):
            _beside(file, suffix).rename(folder / f"{file.name}{suffix}")
    _finish(file)
    return open_writer(target, str(file), options), _told(report, folder, began)


def _fill(new: sqlite3.Connection, file: Path, options: Options, report: Report) -> None:
    new.execute("PRAGMA synchronous=OFF")  # it is synced as a whole at its end
    new.execute("BEGIN IMMEDIATE")
    try:
        with contextlib.closing(sqlite3.connect(f"file:{_uri(file)}?mode=ro", uri=True, isolation_level=None)) as old:
            schema = old.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type='index'").fetchall()
            for kind, name, sql in schema:
                if _make(new, kind, name, sql, report):
                    report.rows[name] = _copy(new, _readable(old, name, report), name, report)
    except sqlite3.Error:
        report.complete = False
    if not report.complete:
        _fill_from_pages(new, Pages(file), report)
        with contextlib.suppress(sqlite3.Error):
            new.execute("DELETE FROM edged_schema")  # a table may be lost: all are made again where they are missing
    behind = _size(_beside(file, "-wal")) > 0  # SQLite stops at the first frame of a WAL that is wrong; more may stand behind it
    report.notes = _salvaged(new, file, options, complete=report.complete and not behind)
    new.execute("COMMIT")
    new.execute("PRAGMA synchronous=FULL")
    new.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _fill_from_pages(new: sqlite3.Connection, pages: Pages, report: Report) -> None:
    """What SQLite would not read, by walking the tables' pages without it."""
    for kind, name, _, root, sql in sorted(pages.schema(), key=lambda row: row[0] == "index"):
        if name in report.rows or _make(new, kind, name, sql, report):
            columns = new.execute("SELECT cid FROM pragma_table_info(?) WHERE pk=1 AND upper(type)='INTEGER'", (name,)).fetchone()
            rowid = -1 if columns is None else columns[0]
            pages.known = None if columns is None else known_rows(new, name)
            found = (_with_rowid(row, rowid, key) for key, row in pages.tree(root))
            report.rows[name] = report.rows.get(name, 0) + _copy(new, found, name, report)


def known_rows(new: sqlite3.Connection, table: str) -> Callable[[Sequence[int]], set[int]]:
    """Those of some rowids that the new file's table has."""
    sql = f'SELECT rowid FROM "{table}" WHERE rowid IN (SELECT value FROM json_each(?))'
    return lambda rowids: {key for (key,) in new.execute(sql, (json.dumps(rowids),))}


def _with_rowid(row: tuple[object, ...], column: int, rowid: int) -> tuple[object, ...]:
    """An INTEGER PRIMARY KEY is stored as NULL: its value is the rowid."""
    return row if column < 0 or column >= len(row) or row[column] is not None else (*row[:column], rowid, *row[column + 1 :])


def _make(new: sqlite3.Connection, kind: str, name: str, sql: str, report: Report) -> bool:
    """Make a table or index again; True for a table."""
    if name.startswith("sqlite_") or kind not in ("table", "index"):
        return False
    try:
        new.execute(sql)
    except sqlite3.Error as error:
        if "already exists" not in str(error):
            log.error("%s: %s could not be made again: %s", report.file, name, error)
            report.complete = False
            return False
    return kind == "table"


def _copy(new: sqlite3.Connection, found: Iterable[tuple[object, ...]], table: str, report: Report) -> int:
    """How many rows could be stored."""
    count = 0
    for row in found:
        try:
            count += new.execute(f'INSERT OR IGNORE INTO "{table}" VALUES({",".join("?" * len(row))})', row).rowcount
        except sqlite3.Error:
            report.complete = False
    return count


def _readable(old: sqlite3.Connection, table: str, report: Report) -> Iterator[tuple[object, ...]]:
    """All rows, or those from both ends and from behind the holes."""
    first: int | None = None
    last: int | None = None
    try:
        for key, *row in _in_order(old, table):
            first = key
            yield tuple(row)
        return
    except (sqlite3.Error, UnicodeDecodeError):
        report.complete = False
    with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
        for key, *row in old.execute(f'SELECT rowid, * FROM "{table}" ORDER BY rowid DESC'):
            if first is not None and key <= first:
                return
            last = key
            yield tuple(row)
    with contextlib.suppress(sqlite3.Error):
        if first is None:
            (first,) = old.execute(f'SELECT min(rowid) FROM "{table}"').fetchone()
        if last is None:
            (last,) = old.execute(f'SELECT max(rowid) FROM "{table}"').fetchone()
        yield from _behind_holes(old, table, first, last)


def _in_order(old: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """All rows with their rowids in front (None in a table WITHOUT ROWID)."""
    try:
        old.execute(f'SELECT rowid FROM "{table}" LIMIT 0')
    except sqlite3.OperationalError:
        yield from old.execute(f'SELECT NULL, * FROM "{table}"')
    else:
        yield from old.execute(f'SELECT rowid, * FROM "{table}" ORDER BY rowid')


def _behind_holes(old: sqlite3.Connection, table: str, at: int, last: int) -> Iterator[tuple[object, ...]]:
    step = 1
    for _ in range(MOST_PROBES):
        if at > last:
            return
        try:
            for rowid, *row in old.execute(f'SELECT rowid, * FROM "{table}" WHERE rowid BETWEEN ? AND ? ORDER BY rowid', (at, last)):
                at, step = rowid + 1, 1
                yield tuple(row)
            return
        except (sqlite3.Error, UnicodeDecodeError):
            at, step = at + step, step * 2


def _finish(file: Path) -> None:
    """Put a finished new file in the place of a damaged one that was moved."""
    new = _beside(file, ".rescued")
    if file.exists():
        _discard(new)
        return
    if new.exists():
        folder = _place(file)
        for suffix in SUFFIXES[1:]:
            with contextlib.suppress(FileNotFoundError):
                _beside(file, suffix).rename(folder / f"{file.name}{suffix}")
        _leave(folder)
        new.rename(file)
        _sync_folder(file.parent)


def _place(file: Path) -> Path:
    """A new folder for what is set aside."""
    base = file.parent / "damaged"
    number = 1
    while True:
        folder = base / str(number)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise Unavailable(f"{file} is damaged, and there is no place to set it aside: {folder}: {error.strerror}") from error
        else:
            return folder


def _leave(folder: Path) -> None:
    """A place that was not needed."""
    with contextlib.suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()


def _told(report: Report, folder: Path, began: float) -> Report:
    report.seconds = round(time.monotonic() - began, 3)
    with contextlib.suppress(OSError):
        (folder / "report.json").write_text(json.dumps(asdict(report), indent=2) + "\n")
    log.error("%s", report)
    return report


def _discard(new: Path) -> None:
    """Remove an unfinished copy of our own making."""
    for suffix in SUFFIXES:
        _beside(new, suffix).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(file: Path, suffix: str) -> Path:
    return Path(f"{file}{suffix}")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1


def _uri(file: Path) -> str:
    return str(file).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
