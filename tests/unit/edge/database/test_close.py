"""Closing while others still read: they are told, the process lives."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge.database import Database
from edge.errors import Closed


async def reading(database: Database) -> int:
    """Read in every turn of the loop until the database is closed."""
    turns = 0
    while True:
        database.row_now("SELECT count(*) FROM sqlite_master")
        database.view(lambda tx: tx.execute("SELECT 1").fetchone())
        turns += 1
        await asyncio.sleep(0)


def test_reader_in_every_turn_is_told_of_the_end(tmp_path: Path) -> None:
    async def script() -> None:
        for number in range(40):
            async with Database.open(tmp_path / f"{number}.db") as database:
                await database.write(lambda tx: tx.execute("CREATE TABLE t (a)"))
                readers = [asyncio.create_task(reading(database)) for _ in range(4)]
                await asyncio.sleep(0)
            for reader in readers:
                with pytest.raises(Closed, match=f"{number}.db is closed"):
                    await reader

    asyncio.run(script())


def test_closing_empties_the_wal(tmp_path: Path) -> None:
    async def script() -> None:
        async with Database.open(tmp_path / "a.db") as database:
            await database.write(lambda tx: tx.execute("CREATE TABLE t (a)"))
            assert (tmp_path / "a.db-wal").exists()

    asyncio.run(script())
    assert not (tmp_path / "a.db-wal").exists()
