"""SQLite's errors in neutral words: what happened to which file and what to do. Nothing is ever deleted here."""

from __future__ import annotations

import os
import sqlite3

from edge.errors import Full, Unavailable

RESERVE_BYTES = 16 << 20


class Damaged(Unavailable):
    """The file is no database any more, or parts of it cannot be read. reason: in SQLite's words."""

    reason = ""


class Newer(Unavailable):
    """A newer edged wrote the file."""


def primary(error: sqlite3.Error) -> int:
    """SQLite's primary result code, 0 when the error is Python's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Another process (or a connection in a non-WAL file) holds a lock."""
    return primary(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def translate(error: sqlite3.Error, path: str) -> Exception:
    """The neutral error for what the disk or another process caused; an error in the statement itself stays as it is."""
    match primary(error):
        case sqlite3.SQLITE_FULL:
            return no_space(path)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Unavailable(f"database is locked ({primary(error)}): another process holds {path}")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return Unavailable(f"{path}: cannot be written (attempt to write a readonly database); remount it writable or check its owner")
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN if wrong := no_file(path):
            return Unavailable(wrong)
        case sqlite3.SQLITE_IOERR:
            return no_space(path) if _disk_is_full(path) else Unavailable(f"{path}: {error}; check the disk, writing is tried again")
        case sqlite3.SQLITE_CANTOPEN:
            return Unavailable(f"{path}: {error}; check that its folder exists and is writable")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(path, str(error))
    return error


def no_file(path: str) -> str:
    """Why what stands at the path can be no database: a folder, a device, a link to nothing; "" = a file or nothing."""
    if os.path.isfile(path) or not os.path.lexists(path):  # noqa: PTH113 (must not fail on odd names)
        return ""
    link = f" (a link to {os.path.realpath(path)})" if os.path.islink(path) else ""  # noqa: PTH114
    kind = "a folder" if os.path.isdir(path) else "no regular file"  # noqa: PTH112
    return f"{path}{link} is {kind}; move it away, or give another --data-dir. It was left as it is"


def damaged(path: str, reason: str) -> Damaged:
    error = Damaged(
        f"{path} is damaged: {reason}. It was left as it is; move it away to start empty, or see docs/reliability.md to salvage it"
    )
    error.reason = reason
    return error


def no_space(path: str) -> Full:
    return Full(f"{path}: no space left on the device, nothing was stored; free some and writing goes on by itself")


def space_left(path: str) -> int:
    """Bytes that may be written to the file's disk; very many where that cannot be known."""
    disk = _disk(path)
    return 1 << 60 if disk is None else disk.f_bavail * disk.f_frsize


def reserve(path: str) -> int:
    """Bytes of the file's disk that are not for new messages: 16 MiB, on a small one a fiftieth."""
    disk = _disk(path)
    return 0 if disk is None else min(RESERVE_BYTES, disk.f_blocks * disk.f_frsize // 50)


def _disk_is_full(path: str) -> bool:
    return space_left(path) == 0


def _disk(path: str) -> os.statvfs_result | None:
    try:
        return os.statvfs(os.path.dirname(path) or ".")  # noqa: PTH120 (must not fail on odd names)
    except OSError:
        return None
