"""What the journal promises beyond the model: one commit for many, keys, limits and their policies, ages, other processes."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.database import Database, Options
from edge.errors import Full
from edge.journal import Journal, LaneStats, Limits, Policy
from edge.journal.journal import MOST_REMOVALS, MOST_UNWRITTEN
from edge.model import Message

A, B = "out/p/a", "out/p/b"
Script = Callable[[Journal, Database], Awaitable[Any]]


class TestClock:
    """Time that only the test moves."""

    __test__ = False

    def __init__(self) -> None:
        self.wall, self.up = 0.0, 1000.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.up


def play(folder: Path, *scripts: Script, clock: TestClock | None = None) -> list[Any]:
    """Run each script on a journal of the same file, one life after the other."""

    async def run() -> list[Any]:
        results = []
        for script in scripts:
            async with Database.open(folder / "j.db") as database, Journal.open(database, clock) as journal:
                results.append(await script(journal, database))
        return results

    return asyncio.run(run())


def numbered(*numbers: int, size: int = 1, **metadata: str) -> list[Message]:
    return [Message("t", str(n).rjust(size).encode(), metadata, id=f"m{n}") for n in numbers]


def taken(journal: Journal, lane: str = A, limit: int = 1000) -> list[int]:
    return [int(entry.message.data) for entry in journal.take_now(lane, limit)]


async def flushed(journal: Journal, database: Database) -> None:
    journal._on_flush()
    await database.write(lambda tx: None)


def stats(journal: Journal, lane: str = A) -> LaneStats:
    (found,) = journal.stats(lane)
    assert found.balanced
    return found


# --- storing
def test_puts_of_one_turn_share_a_commit(tmp_path: Path) -> None:
    async def script(journal: Journal, database: Database) -> int:
        before = database._writer.counts.commits
        await asyncio.gather(*(journal.put(lane, message) for lane in (A, B) for message in numbered(*range(50))))
        return database._writer.counts.commits - before

    assert play(tmp_path, script) == [1]


def test_a_message_comes_back_after_a_restart_as_it_was(tmp_path: Path) -> None:
    message = Message("tö/1", b"\x00\xff", {"retain": "true"}, "application/octet-stream", "id-1")

    async def put(journal: Journal, _: Database) -> None:
        await journal.put(A, message)

    async def take(journal: Journal, _: Database) -> Message:
        (entry,) = journal.take_now(A, 10)
        return entry.message

    assert play(tmp_path, put, take)[1] == message


def test_put_in_a_unit_exists_only_if_the_unit_commits(tmp_path: Path) -> None:
    async def script(journal: Journal, database: Database) -> list[int]:
        def works(tx: sqlite3.Connection) -> None:
            journal.put_in(tx, A, *numbered(1))

        def fails(tx: sqlite3.Connection) -> None:
            journal.put_in(tx, A, *numbered(2))
            raise ValueError("no")

        await database.write(works)
        with pytest.raises(ValueError, match="no"):
            await database.write(fails)
        return taken(journal)

    assert play(tmp_path, script) == [[1]]


def test_retries_start_at_once_after_a_restart_with_their_attempts(tmp_path: Path) -> None:
    async def fail(journal: Journal, _: Database) -> None:
        await journal.put(A, *numbered(1))
        (entry,) = journal.take_now(A, 1)
        await journal.retry(entry, 3600.0, "no route")
        assert taken(journal) == []

    async def again(journal: Journal, _: Database) -> tuple[int, str]:
        (entry,) = journal.take_now(A, 1)
        return entry.attempts, entry.error

    assert play(tmp_path, fail, again)[1] == (1, "no route")


def test_a_key_is_accepted_once_also_after_a_restart(tmp_path: Path) -> None:
    async def put(journal: Journal, _: Database) -> int:
        entries = await journal.put(A, *numbered(1, 2), keys=("k", "k2"))
        return len(entries) + len(await journal.put(A, *numbered(1), keys=("k",)))

    assert play(tmp_path, put, put) == [2, 0]


def test_a_key_is_forgotten_after_its_time(tmp_path: Path) -> None:
    clock = TestClock()

    async def script(journal: Journal, _: Database) -> list[int]:
        found = []
        for step in (0.0, 9.0, 2.0):
            clock.up += step
            found.append(len(await journal.put(A, *numbered(1), keys=("k",), remember=10.0)))
        return found

    assert play(tmp_path, script, clock=clock) == [[1, 0, 1]]


def test_what_is_given_back_finds_its_place(tmp_path: Path) -> None:
    async def script(journal: Journal, _: Database) -> list[int]:
        await journal.put(A, *numbered(1, 2, 3, 4))
        one, two, three = journal.take_now(A, 3)
        journal.release(three)
        journal.release(one)
        journal.release(two)
        return taken(journal)

    assert play(tmp_path, script) == [[1, 2, 3, 4]]


def test_keys_whose_time_is_over_are_removed(tmp_path: Path) -> None:
    clock = TestClock()

    async def script(journal: Journal, database: Database) -> list[Any]:
        await journal.put(A, *numbered(1, 2), keys=("k1", "k2"), remember=10.0)
        clock.up += 20
        await journal.put(A, *numbered(3), keys=("k3",), remember=10.0)
        return database.read_now("SELECT key FROM journal_seen")

    assert play(tmp_path, script, clock=clock) == [[("k3",)]]


def test_an_entry_that_waits_for_its_next_attempt_holds_up_no_other(tmp_path: Path) -> None:
    async def script(journal: Journal, _: Database) -> list[int]:
        await journal.put(A, *numbered(1, 2, 3))
        (entry,) = journal.take_now(A, 1)
        await journal.retry(entry, 3600.0, "no route")
        return taken(journal)

    assert play(tmp_path, script) == [[2, 3]]


# --- limits
def test_a_full_bound_refuses_and_takes_again_once_something_left(tmp_path: Path) -> None:
    async def script(journal: Journal, database: Database) -> None:
        journal.set_limits("out/p/", Limits(max_entries=3))
        await journal.put(A, *numbered(1, 2))
        await journal.put(B, *numbered(3))
        with pytest.raises(Full, match="3 messages"):
            await journal.put(B, *numbered(4))
        await journal.put("out/other/a", *numbered(1))
        await journal.done(*journal.take_now(A, 1))
        await flushed(journal, database)
        await journal.put(B, *numbered(4))

    play(tmp_path, script)


def test_puts_under_way_count_against_the_limit(tmp_path: Path) -> None:
    async def script(journal: Journal, _: Database) -> int:
        journal.set_limits("out/", Limits(max_bytes=10 * (64 + 2)))
        results = await asyncio.gather(*(journal.put(A, *numbered(n)) for n in range(30)), return_exceptions=True)
        assert stats(journal).pending == 10
        return sum(isinstance(result, Full) for result in results)

    assert play(tmp_path, script) == [20]


@pytest.mark.parametrize(
    ("policy", "left", "dropped"),
    [
        (Policy.DROP_OLDEST, [3, 4, 5, 6, 7], {"full": 3}),
        (Policy.DROP_NEWEST, [0, 1, 2, 3, 4], {"full": 3}),
        (Policy.KEEP_LAST, [7], {"replaced": 7}),
    ],
)
def test_policy_decides_what_stays(policy: Policy, left: list[int], dropped: dict[str, int], tmp_path: Path) -> None:
    async def fill(journal: Journal, _: Database) -> None:
        journal.set_limits("out/", Limits(max_entries=5, policy=policy))
        for message in numbered(*range(8)):
            await journal.put(A, message)
        assert stats(journal).dropped == dropped

    async def look(journal: Journal, _: Database) -> list[int]:
        assert stats(journal).accepted == 8
        return taken(journal)

    assert play(tmp_path, fill, look)[1] == left


def test_downsampling_keeps_one_of_n_beyond_half_and_drops_the_oldest_when_full(tmp_path: Path) -> None:
    async def script(journal: Journal, _: Database) -> list[int]:
        journal.set_limits("out/", Limits(max_entries=10, policy=Policy.DOWNSAMPLE, every=4))
        for message in numbered(*range(45)):
            await journal.put(A, message)
        found = stats(journal)
        assert found.dropped == {"downsampled": 30, "full": 5}
        return taken(journal)

    (left,) = play(tmp_path, script)
    assert len(left) == 10
    assert left[-1] == 44
    assert all(b - a == 4 for a, b in itertools.pairwise(left) if a > 8)


def test_what_is_in_flight_is_never_dropped(tmp_path: Path) -> None:
    async def script(journal: Journal, _: Database) -> list[int]:
        journal.set_limits("out/", Limits(max_entries=2, policy=Policy.DROP_OLDEST))
        await journal.put(A, *numbered(1, 2))
        (first,) = journal.take_now(A, 1)
        await journal.put(A, *numbered(3))
        journal.release(first)
        return taken(journal)

    assert play(tmp_path, script) == [[1, 3]]


def test_the_longest_lane_gives_way_to_another_topic(tmp_path: Path) -> None:
    async def script(journal: Journal, _: Database) -> tuple[list[int], list[int]]:
        journal.set_limits("out/p/", Limits(max_entries=4, policy=Policy.DROP_OLDEST))
        await journal.put(A, *numbered(1, 2, 3, 4))
        await journal.put(B, *numbered(9))
        return taken(journal), taken(journal, B)

    assert play(tmp_path, script) == [([2, 3, 4], [9])]


def test_a_pattern_has_limits_of_its_own(tmp_path: Path) -> None:
    async def script(journal: Journal, _: Database) -> list[int]:
        journal.set_limits("out/p/", Limits(max_entries=1), [("b".__eq__, Limits(policy=Policy.KEEP_LAST))])
        for message in numbered(1, 2, 3):
            await journal.put(B, message)
        await journal.put(A, *numbered(1))
        with pytest.raises(Full):
            await journal.put(A, *numbered(2))
        return taken(journal, B)

    assert play(tmp_path, script) == [[3]]


# --- age
def test_old_messages_expire_though_nobody_takes_them(tmp_path: Path) -> None:
    clock = TestClock()

    async def script(journal: Journal, database: Database) -> tuple[int, list[int]]:
        journal.set_limits("out/", Limits(max_age=60.0))
        await journal.put(A, *numbered(1, 2))
        clock.up += 50
        await journal.put(A, *numbered(3))
        clock.up += 20
        journal._expire()
        await flushed(journal, database)
        return stats(journal).expired, taken(journal)

    assert play(tmp_path, script, clock=clock) == [(2, [3])]


def test_ttl_counts_time_up_whatever_the_wall_clock_does(tmp_path: Path) -> None:
    clock = TestClock()

    async def put(journal: Journal, _: Database) -> None:
        await journal.put(A, *numbered(1, ttlInSeconds="100"), *numbered(2))
        clock.wall, clock.up = 2e9, clock.up + 90
        await journal.put(A, *numbered(3))

    async def restarted(journal: Journal, database: Database) -> list[list[int]]:
        clock.wall = -86_400.0
        first = journal.take_now(A, 10)
        journal.release(*first)
        clock.up += 20
        found = [[int(e.message.data) for e in first], taken(journal)]
        await flushed(journal, database)
        assert stats(journal).expired == 1
        return found

    assert play(tmp_path, put, restarted, clock=clock)[1] == [[1, 2, 3], [2, 3]]


def test_what_is_in_flight_never_grows_too_old(tmp_path: Path) -> None:
    clock = TestClock()

    async def script(journal: Journal, database: Database) -> tuple[int, int, int]:
        journal.set_limits("out/", Limits(max_age=60.0))
        await journal.put(A, *numbered(1, 2))
        (first,) = journal.take_now(A, 1)
        clock.up += 70
        journal._expire()
        await flushed(journal, database)
        await journal.done(first)
        await flushed(journal, database)
        found = stats(journal)
        return found.expired, found.delivered, found.pending

    assert play(tmp_path, script, clock=clock) == [(1, 1, 0)]


# --- commits that fail
def refuse(tx: sqlite3.Connection, table: str, event: str) -> None:
    tx.execute(f"CREATE TRIGGER refused BEFORE {event} ON {table} BEGIN SELECT RAISE(ABORT, 'refused'); END")


def test_a_dead_letter_that_cannot_be_stored_leaves_the_message_where_it_was(tmp_path: Path) -> None:
    async def fail(journal: Journal, database: Database) -> list[int]:
        await journal.put(A, *numbered(1))
        (entry,) = journal.take_now(A, 1)
        await database.write(lambda tx: refuse(tx, "journal", "INSERT"))
        with pytest.raises(sqlite3.Error, match="refused"):
            await journal.bury(entry, "poison")
        found = await journal.peek(A, 10)
        assert (stats(journal).dead, stats(journal).pending) == (0, 1)
        return [row.seq for row in found]

    async def again(journal: Journal, _: Database) -> list[int]:
        assert stats(journal).dead == 0
        return taken(journal)

    (left, found) = play(tmp_path, fail, again)
    assert len(left) == 1
    assert found == [1]


def test_rows_and_numbers_stand_or_fall_together(tmp_path: Path) -> None:
    async def script(journal: Journal, database: Database) -> tuple[int, int]:
        await journal.put(A, *numbered(1))
        await database.write(lambda tx: refuse(tx, "journal_lane", "UPDATE"))
        with pytest.raises(sqlite3.Error, match="refused"):
            await journal.put(A, *numbered(2))
        return len(await journal.peek(A, 10)), stats(journal).pending

    assert play(tmp_path, script) == [(1, 1)]


def test_what_could_not_be_removed_goes_with_a_later_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.journal.journal.FLUSH_AGAIN", 0.01)

    async def run() -> int:
        async with Database.open(tmp_path / "j.db", Options(busy_timeout=0.01)) as database, Journal.open(database) as journal:
            await journal.put(A, *numbered(1))
            with closing(sqlite3.connect(tmp_path / "j.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                await journal.done(*journal.take_now(A, 1))
                journal._on_flush()
                while database.unhealthy() is None:
                    await asyncio.sleep(0.002)
            async with asyncio.timeout(5):
                while stats(journal).pending:
                    await asyncio.sleep(0.002)
            return stats(journal).delivered

    assert asyncio.run(run()) == 1


def test_the_reserve_of_the_disk_is_for_what_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(journal: Journal, database: Database) -> int:
        await journal.put(A, *numbered(1))
        monkeypatch.setattr("edge.database.database.LOOK_EVERY", 0.0)
        monkeypatch.setattr("edge.database.database.space_left", lambda _: 1 << 10)
        with pytest.raises(Full, match="no space left"):
            await journal.put(A, *numbered(2))
        await journal.done(*journal.take_now(A, 1))
        await flushed(journal, database)
        return stats(journal).pending

    assert play(tmp_path, script) == [0]


# --- other processes
def test_what_another_process_put_and_removed_is_seen_after_a_refresh(tmp_path: Path) -> None:
    async def script(journal: Journal, database: Database) -> list[int]:
        await journal.put(A, *numbered(1, 2, 3))
        async with Database.open(tmp_path / "j.db") as other, Journal.open(other) as tool:
            one, two, three = tool.take_now(A, 3)
            await tool.drop(two, "by hand")
            tool.release(one, three)
            await tool.put(A, *numbered(4))
        journal.refresh()
        await database.write(lambda tx: None)
        await journal.put(A, *numbered(5))
        assert stats(journal).dropped == {"by hand": 1}
        return taken(journal)

    assert play(tmp_path, script) == [[1, 3, 4, 5]]


def test_a_put_after_a_foreign_one_does_not_hide_it(tmp_path: Path) -> None:
    async def script(journal: Journal, _: Database) -> list[int]:
        await journal.put(A, *numbered(1))
        async with Database.open(tmp_path / "j.db") as other, Journal.open(other) as tool:
            await tool.put(A, *numbered(2))
        await journal.put(A, *numbered(3))
        return taken(journal)

    assert play(tmp_path, script) == [[1, 2, 3]]


def test_a_row_that_somebody_removed_is_counted_once(tmp_path: Path) -> None:
    async def script(journal: Journal, database: Database) -> None:
        await journal.put(A, *numbered(1))
        (mine,) = journal.take_now(A, 1)
        async with Database.open(tmp_path / "j.db") as other, Journal.open(other) as tool:
            await tool.drop(tool.take_now(A, 1)[0], "by hand")
        await journal.done(mine)
        await flushed(journal, database)
        journal.refresh()
        await database.write(lambda tx: None)
        assert stats(journal) == LaneStats(A, accepted=1, dropped={"by hand": 1})

    play(tmp_path, script)


def test_of_many_that_end_together_one_that_is_gone_is_not_counted(tmp_path: Path) -> None:
    async def script(journal: Journal, database: Database) -> None:
        await journal.put(A, *numbered(*range(20), size=50))
        await journal.put(B, *numbered(1, 2))
        entries = [*journal.take_now(A, 20), *journal.take_now(B, 2)]
        await database.write(lambda tx: tx.execute("DELETE FROM journal WHERE seq = ?", (entries[7].seq,)))
        await journal.done(*entries[:19])
        await journal.drop(entries[19], "unwanted")
        await journal.done(*entries[20:])
        await flushed(journal, database)

        found = {lane.lane: lane for lane in journal.stats("out/")}
        assert (found[A].delivered, found[A].dropped, found[A].pending) == (18, {"unwanted": 1}, 1)  # the row that went was its own
        assert (found[B].delivered, found[B].pending, found[B].pending_bytes) == (2, 0, 0)
        assert await database.read("SELECT count(*) FROM journal") == [(0,)]

    play(tmp_path, script)


def test_no_more_of_a_backlog_is_taken_than_the_writer_keeps_up_with(tmp_path: Path) -> None:
    """Else a broker that is faster than the disk fills memory with what is delivered and not noted, and a crash repeats it all."""

    async def script(journal: Journal, database: Database) -> None:
        count = MOST_UNWRITTEN * 3
        woken: list[str] = []
        await journal.put(A, *numbered(*range(count)))
        journal.watch(A, woken.append)
        await asyncio.sleep(0)
        woken.clear()
        delivered = 0
        while entries := journal.take_now(A, 100):  # without a turn of the loop: nothing is committed
            await journal.done(*entries)
            delivered += len(entries)
        assert MOST_UNWRITTEN <= delivered <= MOST_UNWRITTEN + 2 * MOST_REMOVALS

        await database.write(lambda tx: None)
        await asyncio.sleep(0)
        assert woken == [A]
        assert stats(journal).delivered >= MOST_UNWRITTEN
        assert len(journal.take_now(A, 100)) == 100

    play(tmp_path, script)
