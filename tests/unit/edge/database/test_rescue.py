"""A damaged file never blocks a start: it is set aside as it was, what can be read is there again, and the numbers say what is missing."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import struct
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.database import Database, Options
from edge.database.rescue import Report, doubt
from edge.errors import Unavailable
from edge.journal import Journal, salvager
from edge.journal.rows import checksum
from edge.model import Message

COUNT = 300
SMALL = Options(page_size=1024, shrink=True, rescue=True, salvager=salvager)
LANES = ("out/mqtt/a", "out/mqtt/b", "in/app/mqtt/c")
TABLE = "CREATE TABLE other(n INTEGER PRIMARY KEY, text TEXT NOT NULL)"


def message(n: int) -> Message:
    return Message("t", b"%d " % n + b"x" * (n * 13 % 3000), {"n": str(n)}, id=f"m{n}")


async def fill(journal: Journal, database: Database) -> None:
    await database.write(
        lambda tx: tx.execute(TABLE) and tx.executemany("INSERT INTO other VALUES(?, ?)", ((n, "y" * 50) for n in range(COUNT)))
    )
    for first in range(0, COUNT, 20):
        await asyncio.gather(*(journal.put(LANES[n % 3], message(n)) for n in range(first, first + 20)))


def in_life(file: Path, script: Callable[[Journal, Database], Awaitable[Any]], options: Options = SMALL) -> Any:
    async def run() -> Any:
        async with Database.open(file, options) as database, Journal.open(database) as journal:
            return await script(journal, database)

    return asyncio.run(run())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was closed."""
    path = tmp_path / "data" / "edged.db"
    path.parent.mkdir()
    in_life(path, fill)
    return path


def killed(tmp_path: Path, checkpoint: int) -> Path:
    """A file whose process was killed. checkpoint: pages in the WAL after which some of it was moved to the file, 0 = never."""
    path = tmp_path / "data" / "edged.db"
    path.parent.mkdir()

    async def fill_and_die(journal: Journal, database: Database) -> None:
        await fill(journal, database)
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", tmp_path / f"edged.db{suffix}")

    in_life(path, fill_and_die, replace(SMALL, pragmas=(f"wal_autocheckpoint={checkpoint}",)))
    for suffix in ("", "-wal"):
        shutil.move(tmp_path / f"edged.db{suffix}", f"{path}{suffix}")
    return path


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    return killed(tmp_path, 300)


async def look(journal: Journal, database: Database) -> tuple[Report | None, set[int], int]:
    """What is there after a start; and the file can be used."""
    found = {int(row.message.data.split()[0]) for lane in LANES for row in await journal.peek(lane, 1000)}
    for stats in journal.stats():
        assert stats.balanced, stats
        assert stats.pending == len(await journal.peek(stats.lane, 1000))
    await journal.put(LANES[0], message(COUNT))
    assert journal.take_now(LANES[0], 1000)[-1].message == message(COUNT)
    assert await database.scan("PRAGMA integrity_check") == [("ok",)]
    missing = sum(stats.dropped.get("damaged", 0) for stats in journal.stats())
    return database.rescued, found, missing


def aside(file: Path) -> Path:
    return file.parent / "damaged" / "1" / "edged.db"


def overwrite(file: Path, *pieces: tuple[int, bytes]) -> bytes:
    """Change bytes at offsets; the whole content then."""
    with file.open("r+b") as stream:
        for offset, data in pieces:
            stream.seek(offset)
            stream.write(data)
    return file.read_bytes()


@pytest.mark.parametrize("life", ["file", "crashed"])
def test_a_sound_file_is_left_alone(life: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(life)

    assert in_life(path, look) == (None, set(range(COUNT)), 0)
    assert not (path.parent / "damaged").exists()


@pytest.mark.parametrize("size", [1 << 20, 40])
def test_a_file_of_null_bytes_is_set_aside_and_work_begins_anew(size: int, file: Path) -> None:
    file.write_bytes(bytes(size))

    report, found, _ = in_life(file, look)

    assert "no SQLite database" in report.reason
    assert found == set()
    assert aside(file).read_bytes() == bytes(size)
    assert (aside(file).parent / "report.json").exists()


def test_rows_before_the_cut_of_a_truncated_file_are_saved(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])

    report, found, missing = in_life(file, look)

    assert len(found) > COUNT // 3
    assert missing == COUNT - len(found)
    assert aside(file).stat().st_size == len(content) * 2 // 3
    assert report.rows["other"] > 0


@pytest.mark.parametrize("seed", range(4))
def test_rows_outside_of_overwritten_pages_are_saved(seed: int, file: Path) -> None:
    dice = random.Random(seed)
    pages = file.stat().st_size // 1024
    damaged = overwrite(file, *((dice.randrange(1, pages) * 1024, os.urandom(1024)) for _ in range(6)))

    report, found, missing = in_life(file, look)

    assert report is not None
    assert len(found) > COUNT * 3 // 4
    assert missing >= COUNT - len(found)
    assert aside(file).read_bytes() == damaged


def test_rows_are_found_without_the_header_and_the_schema(file: Path) -> None:
    overwrite(file, (0, os.urandom(1024)))

    _, found, _ = in_life(file, look)

    assert len(found) > COUNT * 9 // 10


def test_a_flipped_bit_in_a_payload_is_not_delivered(file: Path) -> None:
    content = file.read_bytes()
    at = content.index(b"150 xxx") + 100
    overwrite(file, (at, b"Y"))

    async def take(journal: Journal, database: Database) -> tuple[set[int], dict[str, int]]:
        taken = {int(entry.message.data.split()[0]) for lane in LANES for entry in journal.take_now(lane, 1000)}
        journal._on_flush()
        await database.write(lambda tx: None)
        assert all(stats.balanced for stats in journal.stats())
        (stats,) = journal.stats(LANES[0])
        return taken, stats.dropped

    assert in_life(file, take) == (set(range(COUNT)) - {150}, {"damaged": 1})


def test_a_rescue_leaves_out_what_is_not_as_it_was_put(file: Path) -> None:
    content = file.read_bytes()
    overwrite(file, (content.index(b"150 xxx") + 100, b"Y"), (len(content) - 1024, os.urandom(1024)))

    report, found, missing = in_life(file, look)

    assert report.notes["with a wrong checksum"] == 1
    assert 150 not in found
    assert missing >= COUNT - len(found)


def test_a_wal_of_another_database_is_not_rolled_forward(crashed: Path, tmp_path: Path) -> None:
    async def fill_and_copy(_: Journal, database: Database) -> None:
        await database.write(lambda tx: tx.execute(TABLE))
        shutil.copy(f"{tmp_path / 'foreign.db'}-wal", f"{crashed}-wal")

    in_life(tmp_path / "foreign.db", fill_and_copy)

    report, found, _ = in_life(crashed, look)

    assert report.reason == "its WAL belongs to another database"
    assert len(found) > COUNT // 4
    assert Path(f"{aside(crashed)}-wal").exists()


def test_a_wal_without_its_database_gives_its_rows(crashed: Path) -> None:
    crashed.unlink()

    report, found, _ = in_life(crashed, look)

    assert report.reason == "it is missing, its WAL is there"
    assert found


def test_a_missing_wal_costs_only_what_was_in_it(crashed: Path) -> None:
    Path(f"{crashed}-wal").unlink()

    _, found, _ = in_life(crashed, look)

    assert len(found) > COUNT // 4


@pytest.mark.parametrize("checkpoint", [0, 300])
def test_commits_behind_a_flipped_bit_in_the_wal_are_saved(checkpoint: int, tmp_path: Path) -> None:
    crashed = killed(tmp_path, checkpoint)
    wal = Path(f"{crashed}-wal")
    size = wal.stat().st_size
    overwrite(wal, (size // 2, bytes([wal.read_bytes()[size // 2] ^ 1])))

    report, found, _ = in_life(crashed, look)

    assert "WAL" in report.reason or checkpoint
    assert len(found) >= COUNT - 12
    assert Path(f"{aside(crashed)}-wal").stat().st_size == size


def torn(tmp_path: Path, *ids: str) -> Path:
    """A file whose process was killed between the last frame's head and its page, in a commit of a row and of messages."""
    path = tmp_path / "data" / "edged.db"
    path.parent.mkdir(exist_ok=True)

    async def transact_and_die(journal: Journal, database: Database) -> None:
        def unit(tx: sqlite3.Connection) -> None:
            journal.put_in(tx, LANES[0], *(replace(message(COUNT), id=one) for one in ids))
            tx.execute("INSERT INTO other VALUES(?, ?)", (COUNT, "y" * 5000))

        await database.write(unit)
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", tmp_path / f"edged.db{suffix}")

    in_life(path, transact_and_die, replace(SMALL, pragmas=("wal_autocheckpoint=0",)))
    for suffix in ("", "-wal"):
        shutil.move(tmp_path / f"edged.db{suffix}", f"{path}{suffix}")
    overwrite(Path(f"{path}-wal"), (Path(f"{path}-wal").stat().st_size - 1024, bytes(1024)))
    return path


async def transacted(journal: Journal, database: Database) -> tuple[list[str], int]:
    """Ids of the messages of `torn`, and how often its row is there."""
    ids = [row.message.id for row in await journal.peek(LANES[0], 1000) if row.message.data.startswith(b"%d " % COUNT)]
    return ids, len(await database.scan("SELECT n FROM other WHERE n=?", COUNT))


def test_a_message_of_a_torn_transaction_is_no_more_there_than_its_state(file: Path, tmp_path: Path) -> None:
    """A SIGKILL in the middle of a commit leaves the message's page whole and the state's not."""
    path = torn(tmp_path, "outbox-1", "plain")

    assert in_life(path, transacted) == (["plain"], 0)


def test_two_torn_transactions_do_not_vouch_for_each_other(file: Path, tmp_path: Path) -> None:
    for _ in range(2):
        path = torn(tmp_path, "outbox-1")
        assert in_life(path, transacted) == ([], 0)

    assert not (path.parent / "damaged").exists()


def test_frames_of_a_torn_commit_do_not_stay_behind_the_next_ones(file: Path, tmp_path: Path) -> None:
    path = torn(tmp_path, "outbox-1")
    before = Path(f"{path}-wal").stat().st_size

    async def size(_: Journal, database: Database) -> int:
        return Path(f"{path}-wal").stat().st_size

    assert in_life(path, size) < before // 2


@pytest.mark.parametrize("moved", [0, 1])
def test_a_rescue_that_was_killed_is_done_again_or_finished(moved: int, file: Path) -> None:
    """moved: the damaged file had been moved when the process died; the new one was complete then."""
    new = Path(f"{file}.rescued")
    if moved:
        file.rename(new)
        Path(f"{file}-wal").write_bytes(b"of the damaged file")
    else:
        new.write_bytes(file.read_bytes()[:5000])

    assert in_life(file, look) == (None, set(range(COUNT)), 0)
    assert not new.exists()


def test_a_second_rescue_has_a_place_of_its_own(file: Path) -> None:
    for number in (1, 2):
        file.write_bytes(b"rubbish")
        in_life(file, look)
        assert (file.parent / "damaged" / str(number) / "edged.db").read_bytes() == b"rubbish"


def test_the_checksum_covers_all_that_is_delivered() -> None:
    parts = ("t", b"data", b"{}", "id")
    assert len({checksum(*parts), checksum("u", *parts[1:]), checksum("t", b"date", *parts[2:]), checksum("t", b"data", b"{]", "id")}) == 4
    assert checksum(*parts) != checksum("t", b"data", b"{}", "ie")


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", ".rescued"])
@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_is_left_and_named(suffix: str, kind: str, tmp_path: Path) -> None:
    path = Path(f"{tmp_path / 'edged.db'}{suffix}")
    match kind:
        case "folder":
            path.mkdir()
            (path / "precious").touch()
        case "link":
            path.symlink_to(tmp_path / "gone" / "edged.db")
        case "pipe":
            os.mkfifo(path)

    with pytest.raises(Unavailable, match=f"{path}.* is .*; move it away"):
        in_life(tmp_path / "edged.db", look)

    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, sqlite3.DatabaseError, OverflowError, struct.error])
def test_a_salvager_that_stumbles_keeps_nothing_from_starting(error: type[Exception], file: Path) -> None:
    overwrite(file, (0, os.urandom(1024)))

    def stumbles(new: sqlite3.Connection, damaged: Path, complete: bool) -> dict[str, int]:
        new.execute("CREATE TABLE half(n)")
        raise error("what no one thought of")

    report, found, _ = in_life(file, look, replace(SMALL, salvager=stumbles))

    assert report.notes == {"salvage failed": 1}
    assert aside(file).exists()
    assert 0 not in found


def test_a_damaged_file_that_cannot_be_set_aside_is_left(file: Path) -> None:
    file.write_bytes(b"rubbish")
    (file.parent / "damaged").touch()

    with pytest.raises(Unavailable, match=f"{file} is damaged, and there is no place .*damaged/1: Not a directory"):
        in_life(file, look)

    assert file.read_bytes() == b"rubbish"


def test_without_rescue_a_damaged_file_is_refused_as_it_is(file: Path) -> None:
    file.write_bytes(b"rubbish" * 1000)

    with pytest.raises(Exception, match="is damaged"):
        in_life(file, look, Options())

    assert file.read_bytes() == b"rubbish" * 1000
    with pytest.raises(sqlite3.DatabaseError), closing(sqlite3.connect(file)) as connection:
        connection.execute("SELECT * FROM sqlite_schema")


async def take_half(journal: Journal, database: Database) -> None:
    for lane in LANES:
        await journal.done(*journal.take_now(lane, COUNT // 6))


def test_a_file_in_doubt_is_checked_whatever_its_size_and_its_free_pages_are_no_rows(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.database.rescue.CHECKED_BYTES", 0)
    in_life(file, take_half)
    size = file.stat().st_size
    overwrite(file, (size // 1024 // 2 * 1024, b"\xa5" * 1024 * 4))
    doubt(file, "a page could not be read")

    report, found, missing = in_life(file, look)

    assert report is not None and len(found) + missing == COUNT // 2
    assert not Path(f"{file}.doubt").exists() and aside(file).stat().st_size == size


def test_a_rowid_that_is_none_is_passed_over(file: Path) -> None:
    """Garbage that looks like a cell: a varint has 64 bits, a rowid 63 and a sign."""
    size, page = file.stat().st_size, bytes((0x0D, 0, 0, 0, 1, 3, 0, 0, 3, 0))
    cell = b"\x05" + b"\xff" * 9 + b"\x02\x00\x00\x00"
    overwrite(file, (size // 1024 // 2 * 1024, page.ljust(768, b"\0") + cell.ljust(256, b"\0")), (size // 1024 // 3 * 1024, b"\xa5" * 1024))

    report, found, missing = in_life(file, look)

    assert report is not None and len(found) + missing == COUNT


def test_a_sound_file_in_doubt_is_used_as_it_is(file: Path) -> None:
    doubt(file, "a page could not be read")

    assert in_life(file, look) == (None, set(range(COUNT)), 0)
    assert not Path(f"{file}.doubt").exists()


@pytest.mark.parametrize("seed", range(int(os.environ.get("SEEDS", "6"))))
def test_no_garbage_keeps_it_from_starting(seed: int, crashed: Path) -> None:
    """Random bytes in random sectors of file and WAL, the worst that a torn write can leave."""
    dice = random.Random(seed)
    for path in (crashed, Path(f"{crashed}-wal")):
        sectors = path.stat().st_size // 512
        overwrite(path, *((dice.randrange(sectors) * 512, dice.randbytes(512)) for _ in range(dice.randrange(1, 40))))

    in_life(crashed, look)
