"""What the writer does when nobody writes: it gives the disk back what a burst took."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from edge.crash import reach

WAL_KEPT_BYTES = 1 << 20
FREE_KEPT_BYTES = 1 << 20
MOST_LIVE_BYTES = 64 << 20
"""Up to this much is copied to shrink the file: after a backlog has drained there is next to nothing, so that it takes milliseconds."""


class Caretaker:
    """Truncates a long WAL; shrinks a file that is mostly free pages. shrink: False leaves the file as large as it ever was."""

    def __init__(self, path: Path, *, shrink: bool = False) -> None:
        self._wal = Path(f"{path}-wal")
        self._shrink = shrink

    def tend(self, connection: sqlite3.Connection) -> bool:
        """One step; True = there is more to do. An error here is no one's: the next write will say it."""
        try:
            self._tend(connection)
        except (sqlite3.Error, OSError):
            pass
        return False

    def _tend(self, connection: sqlite3.Connection) -> None:
        if self._shrink and self._mostly_free(connection):
            reach("before-shrink")
            connection.execute("PRAGMA temp_store=FILE")
            try:
                connection.execute("VACUUM")
            finally:
                connection.execute("PRAGMA temp_store=MEMORY")
            self._checkpoint(connection)
        elif self._wal.stat().st_size > WAL_KEPT_BYTES:
            self._checkpoint(connection)

    @staticmethod
    def _checkpoint(connection: sqlite3.Connection) -> None:
        reach("before-checkpoint")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        reach("after-checkpoint")

    @staticmethod
    def _mostly_free(connection: sqlite3.Connection) -> bool:
        size, pages, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count"))
        live = (pages - free) * size
        return bool(free * size > max(FREE_KEPT_BYTES, live / 5) and live <= MOST_LIVE_BYTES)
