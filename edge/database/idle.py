"""What the writer does when nobody writes: it gives the disk back what a burst took."""

from __future__ import annotations

import sqlite3
from pathlib import Path

WAL_KEPT_BYTES = 1 << 20
STEP_PAGES = 256


class Caretaker:
    """Truncates a long WAL and returns free pages in small steps."""

    def __init__(self, path: Path) -> None:
        self._wal = Path(f"{path}-wal")

    def tend(self, connection: sqlite3.Connection) -> bool:
        """One small step; True = there is more to do. An error here is no one's: the next write will say it."""
        try:
            return self._tend(connection)
        except (sqlite3.Error, OSError):
            return False

    def _tend(self, connection: sqlite3.Connection) -> bool:
        if self._wal.stat().st_size > WAL_KEPT_BYTES:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return False
