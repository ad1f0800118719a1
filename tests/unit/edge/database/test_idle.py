"""The file gives back what a burst took."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge.database import Database, Options
from edge.journal import Journal
from edge.model import Message


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.database.writer.IDLE_AFTER", 0.05)


async def _burst(file: Path, options: Options, left: int) -> int:
    """Size of the file once 5 MiB came and all but `left` messages went."""
    async with Database.open(file, options) as database, Journal.open(database) as journal:
        await journal.put("out/p/t", *(Message("t", bytes(10_000), id=str(n)) for n in range(500)))
        await journal.done(*journal.take_now("out/p/t", 500 - left))
        for _ in range(200):
            await asyncio.sleep(0.02)
            if options.shrink and file.stat().st_size < 1.2 * max(left * 10_000, 100_000):
                break
            if not options.shrink and journal.stats()[0].pending == left:
                break
        assert len(await journal.peek("out/p/t", 1000)) == left
        assert await database.scan("PRAGMA integrity_check") == [("ok",)]
        return file.stat().st_size


@pytest.mark.parametrize("left", [0, 100])
def test_a_drained_file_shrinks_to_what_is_in_it(left: int, tmp_path: Path) -> None:
    size = asyncio.run(_burst(tmp_path / "j.db", Options(page_size=2048, shrink=True), left))

    assert size < 1.2 * max(left * 10_000, 100_000)


def test_a_file_of_others_keeps_its_size(tmp_path: Path) -> None:
    asyncio.run(_burst(tmp_path / "j.db", Options(), 0))

    assert (tmp_path / "j.db").stat().st_size > 5_000_000
