"""Where the small stores keep their table: the daemon's own file, or one that the operator names."""

from __future__ import annotations

from pathlib import Path

from edge.component import Context
from edge.database import Database
from edge.errors import ComponentError

LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class File:
    """An open database; `close` leaves the daemon's own file open."""

    def __init__(self, database: Database, own: bool) -> None:
        self.database, self._own = database, own

    @classmethod
    async def open(cls, path: str, context: Context) -> File:
        """path: "" = the daemon's own file; a relative one starts at the working directory. Raises Unavailable, Full."""
        if not path:
            return cls(await context.database(), False)
        database = Database((context.working_dir or Path()) / path.removeprefix("file:"))
        await database.start()
        return cls(database, True)

    async def close(self) -> None:
        if self._own:
            await self.database.close()


def identifier(name: str) -> str:
    """The name, if it can be a table's. Raises ComponentError."""
    if not name or not set(name) <= LETTERS:
        raise ComponentError(f"invalid identifier: {name}; table names have letters, digits and _ only")
    return name
