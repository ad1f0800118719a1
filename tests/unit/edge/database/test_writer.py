"""Units that share a commit: each fails alone, also those of one statement, which have no savepoint."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from edge.database import Database, Statement

INSERT = "INSERT INTO t(k, v) VALUES(?, ?)"
UPDATE = "UPDATE t SET v=? WHERE k=?"


def test_a_statement_that_fails_leaves_its_neighbours_in_the_commit(tmp_path: Path) -> None:
    async def main() -> tuple[list[Any], list[Any], int]:
        async with Database.open(tmp_path / "a.db") as database:
            await database.write(lambda tx: tx.execute("CREATE TABLE t(k INTEGER PRIMARY KEY CHECK(k < 9), v TEXT)"))
            commits = database._writer.counts.commits
            done = await asyncio.gather(
                database.write(Statement(INSERT, (1, "a"))),
                database.write(Statement(INSERT, (1, "twice"))),
                database.write(Statement(UPDATE, ("b", 7), KeyError)),
                database.write(Statement("INSERT INTO t(k, v) VALUES(2, 'x'), (10, 'y')", ())),
                database.write(lambda tx: tx.execute(INSERT, (3, "c")) and None),
                database.write(Statement(UPDATE, ("d", 8))),
                database.write(Statement(UPDATE, ("e", 1), KeyError)),
                return_exceptions=True,
            )
            rows = database.read_now("SELECT k, v FROM t ORDER BY k")
            return [None if one is None else type(one) for one in done], rows, database._writer.counts.commits - commits

    done, rows, commits = asyncio.run(main())

    assert done == [None, sqlite3.IntegrityError, KeyError, sqlite3.IntegrityError, None, None, None]
    assert rows == [(1, "e"), (3, "c")]
    assert commits == 1


def test_a_statement_alone_fails_as_one_among_others(tmp_path: Path) -> None:
    async def main() -> list[Any]:
        async with Database.open(tmp_path / "a.db") as database:
            await database.write(lambda tx: tx.execute("CREATE TABLE t(k INTEGER PRIMARY KEY, v TEXT)"))
            (error,) = await asyncio.gather(database.write(Statement(UPDATE, ("b", 7), KeyError)), return_exceptions=True)
            await database.write(Statement(INSERT, (1, "a")))
            return [type(error), *database.read_now("SELECT k, v FROM t")]

    assert asyncio.run(main()) == [KeyError, (1, "a")]


def _ends_the_transaction(tx: sqlite3.Connection) -> None:
    tx.execute("ROLLBACK")
    raise ValueError("a bug")


def test_a_unit_that_ends_the_transaction_fails_its_commit_and_no_later_one(tmp_path: Path) -> None:
    async def main(beside: int) -> tuple[list[Any], list[Any]]:
        async with Database.open(tmp_path / f"{beside}.db") as database:
            await database.write(lambda tx: tx.execute("CREATE TABLE t(k INTEGER PRIMARY KEY, v TEXT)") and None)
            async with asyncio.timeout(5):
                others = [database.write(lambda tx: tx.execute(INSERT, (1, "lost")) and None) for _ in range(beside)]
                results = await asyncio.gather(*others, database.write(_ends_the_transaction), return_exceptions=True)
                await database.write(lambda tx: tx.execute(INSERT, (2, "kept")) and None)
            return [type(one) for one in results], database.read_now("SELECT k, v FROM t")

    for beside in (0, 1):
        assert asyncio.run(main(beside)) == ([ValueError] * (beside + 1), [(2, "kept")])


@pytest.mark.parametrize("beside", [0, 1])
def test_a_unit_that_fails_leaves_nothing_of_its_work(beside: int, tmp_path: Path) -> None:
    def fails(tx: sqlite3.Connection) -> None:
        tx.execute(INSERT, (1, "half"))
        raise ValueError("a bug")

    async def main() -> list[Any]:
        async with Database.open(tmp_path / "a.db") as database:
            await database.write(lambda tx: tx.execute("CREATE TABLE t(k INTEGER PRIMARY KEY, v TEXT)") and None)
            others = [database.write(lambda tx: tx.execute(INSERT, (2, "whole")) and None) for _ in range(beside)]
            await asyncio.gather(database.write(fails), *others, return_exceptions=True)
            return database.read_now("SELECT k, v FROM t")

    assert asyncio.run(main()) == [(2, "whole")] * beside


@pytest.mark.parametrize("beside", [0, 1])
def test_what_waits_for_a_commit_is_not_told_when_there_is_none(beside: int, tmp_path: Path) -> None:
    """A violated constraint that is deferred lets the COMMIT itself fail."""
    told: list[str] = []

    async def main() -> list[Any]:
        async with Database.open(tmp_path / "a.db") as database:

            def unit(word: str, parent: int, *, fails: bool = False) -> Any:
                def work(tx: sqlite3.Connection) -> None:
                    database.after_commit(lambda *_: told.append(word))
                    tx.execute("INSERT INTO child VALUES(?)", (parent,))
                    if fails:
                        raise ValueError("a bug")

                return work

            await database.write(lambda tx: tx.execute("CREATE TABLE parent(k INTEGER PRIMARY KEY)") and None)
            child = "CREATE TABLE child(k INTEGER REFERENCES parent(k) DEFERRABLE INITIALLY DEFERRED)"
            await database.write(lambda tx: tx.execute(child) and tx.execute("INSERT INTO parent VALUES(1)") and None)
            for one in (unit("no such parent", 7), unit("failed", 1, fails=True), unit("committed", 1)):
                beside_it = [database.write(lambda tx: None) for _ in range(beside)]
                await asyncio.gather(database.write(one), *beside_it, return_exceptions=True)
            return database.read_now("SELECT k FROM child")

    assert asyncio.run(main()) == [(1,)]
    assert told == ["committed"]
