"""One statement of one caller is committed in the same turn of the loop while the disk is quick, never when it is slow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from edge.database import Database
from edge.database.writer import QUICK_RUN, Statement

INSERT = "INSERT INTO t VALUES (?)"


def play(path: Path, scenario: Callable[[Database], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Database.open(path) as database:
            await database.write(lambda tx: tx.execute("CREATE TABLE t (a)"))
            await scenario(database)

    asyncio.run(main())


async def told_in_one_turn(database: Database, unit: Any) -> bool:
    """Is the outcome there when the loop has turned once."""
    told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    database.submit(unit, lambda result, error: told.set_result(None) if error is None else told.set_exception(error))
    await asyncio.sleep(0)
    at_once = told.done()
    await told
    return at_once


def test_quick_disk_answers_in_the_same_turn(tmp_path: Path) -> None:
    async def scenario(database: Database) -> None:
        database._writer._quick_run = QUICK_RUN
        assert await told_in_one_turn(database, Statement(INSERT, (1,)))
        assert database.read_now("SELECT a FROM t") == [(1,)]

    play(tmp_path / "a.db", scenario)


def test_slow_disk_never_holds_up_the_loop(tmp_path: Path) -> None:
    async def scenario(database: Database) -> None:
        database._writer._quick_run = 0
        assert not await told_in_one_turn(database, Statement(INSERT, (1,)))

    play(tmp_path / "a.db", scenario)


def test_other_units_go_to_the_thread(tmp_path: Path) -> None:
    async def scenario(database: Database) -> None:
        database._writer._quick_run = QUICK_RUN
        assert not await told_in_one_turn(database, lambda tx: tx.execute(INSERT, (1,)))

    play(tmp_path / "a.db", scenario)


def test_both_ways_mixed_lose_and_reorder_nothing(tmp_path: Path) -> None:
    async def scenario(database: Database) -> None:
        written: list[int] = []
        for number in range(300):
            database._writer._quick_run = QUICK_RUN
            unit: Any = Statement(INSERT, (number,)) if number % 3 else lambda tx, n=number: tx.execute(INSERT, (n,))
            database.submit(unit, lambda result, error, n=number: written.append(n))  # type: ignore[misc]
            if number % 7 == 0:
                await asyncio.sleep(0)
        while len(written) < 300:
            await asyncio.sleep(0.001)
        assert [row[0] for row in database.read_now("SELECT a FROM t ORDER BY rowid")] == list(range(300))

    play(tmp_path / "a.db", scenario)


def test_what_was_written_at_once_is_on_disk_after_the_end(tmp_path: Path) -> None:
    async def scenario(database: Database) -> None:
        database._writer._quick_run = QUICK_RUN
        for number in range(20):
            await database.write(Statement(INSERT, (number,)))

    play(tmp_path / "a.db", scenario)

    async def again(database: Database) -> None:
        assert database.row_now("SELECT count(*) FROM t") == (20,)

    async def main() -> None:
        async with Database.open(tmp_path / "a.db") as database:
            await again(database)

    asyncio.run(main())
