"""The journal against a simple model, over thousands of random steps with crashes among them: nothing lost, order kept, numbers true."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.database import Database, Options
from edge.journal import Entry, Journal
from edge.model import Message

LANES = ("out/p/a", "in/app/p/b")
AWAY = 10_000.0
UNSYNCED = Options(pragmas=("synchronous=OFF",))  # what a power cut takes is the business of tests/faults
EXAMPLES = int(os.environ.get("EXAMPLES", "20"))
lanes = st.sampled_from(LANES)
places = st.integers(0, 99)


class JournalMachine(RuleBasedStateMachine):
    """pending: per lane what must still be there, in order. taken: in the hands of a consumer. aside: waits for another attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        for module in ("journal", "lane"):  # so that most lanes are longer than what is in memory
            self.patch.setattr(f"edge.journal.{module}.WINDOW", 3)
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.pending: dict[str, list[int]] = {lane: [] for lane in LANES}
        self.dead: dict[str, list[int]] = {lane: [] for lane in LANES}
        self.taken: dict[str, list[Entry]] = {lane: [] for lane in LANES}
        self.aside: dict[str, set[int]] = {lane: set() for lane in LANES}
        self.accepted = dict.fromkeys(LANES, 0)
        self.ended = dict.fromkeys(LANES, 0)
        self.number = 0
        self.runner.run(self.open())

    async def open(self) -> None:
        self.stack = AsyncExitStack()
        self.database = await self.stack.enter_async_context(Database.open(Path(self.folder.name) / "j.db", UNSYNCED))
        self.journal = await self.stack.enter_async_context(Journal.open(self.database))

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()
        self.folder.cleanup()
        self.patch.undo()

    async def flushed(self) -> None:
        """What was ended is on disk."""
        self.journal._on_flush()
        await self.database.write(lambda tx: None)

    @initialize()
    def begin(self) -> None:
        """There is something to take from the first step on, and some of it is not in memory."""
        for lane in LANES:
            self.put(lane, 5, False)
            self.take(lane, 2)

    @rule(lane=lanes, count=st.integers(1, 4), held=st.booleans())
    def put(self, lane: str, count: int, held: bool) -> None:
        numbers = list(range(self.number, self.number + count))
        self.number += count
        messages = [Message("t", b"%d" % number, {"n": str(number)}, id=str(number)) for number in numbers]
        entries = self.runner.run(self.journal.put(lane, *messages, held=held))
        self.pending[lane] += numbers
        self.accepted[lane] += count
        if held:
            self.taken[lane] += entries

    @rule(lane=lanes, limit=st.integers(1, 5))
    def take(self, lane: str, limit: int) -> None:
        entries = self.journal.take_now(lane, limit)
        held = {int(entry.message.data) for entry in self.taken[lane]} | self.aside[lane]
        expected = [number for number in self.pending[lane] if number not in held][:limit]
        assert [int(entry.message.data) for entry in entries] == expected
        assert all(entry.message.metadata == {"n": entry.message.data.decode()} for entry in entries)
        self.taken[lane] += entries

    # --- the end of an entry: a rule for each, since what one rule may do in many ways it does seldom
    def pick(self, at: int) -> tuple[str, Entry, int]:
        """One of the entries that are taken; it is so no more."""
        held = [(lane, entry) for lane in LANES for entry in self.taken[lane]]
        lane, entry = held[at % len(held)]
        self.taken[lane].remove(entry)
        return lane, entry, int(entry.message.data)

    def over(self, lane: str, number: int) -> None:
        self.pending[lane].remove(number)
        self.ended[lane] += 1

    @precondition(lambda self: any(self.taken.values()))
    @rule(at=places)
    def release(self, at: int) -> None:
        _, entry, _ = self.pick(at)
        self.journal.release(entry)

    @precondition(lambda self: any(self.taken.values()))
    @rule(at=places)
    def retry(self, at: int) -> None:
        lane, entry, number = self.pick(at)
        self.aside[lane].add(number)
        self.runner.run(self.journal.retry(entry, AWAY, "no"))

    @precondition(lambda self: any(self.taken.values()))
    @rule(at=places)
    def bury(self, at: int) -> None:
        lane, entry, number = self.pick(at)
        self.dead[lane].append(number)
        self.runner.run(self.journal.bury(entry, "poison"))
        self.over(lane, number)

    @precondition(lambda self: any(self.taken.values()))
    @rule(at=places)
    def drop(self, at: int) -> None:
        lane, entry, number = self.pick(at)
        self.runner.run(self.journal.drop(entry, "unwanted"))
        self.over(lane, number)

    @precondition(lambda self: any(self.taken.values()))
    @rule(at=places)
    def done(self, at: int) -> None:
        lane, entry, number = self.pick(at)
        self.runner.run(self.journal.done(entry))
        self.over(lane, number)

    @rule()
    def crash(self) -> None:
        """All that was ended is on disk, then the process is gone: what was taken or aside is there again."""

        async def again() -> None:
            await self.flushed()
            self.journal._closed = True
            await self.stack.aclose()
            await self.open()

        self.runner.run(again())
        for lane in LANES:
            self.taken[lane].clear()
            self.aside[lane].clear()

    @invariant()
    def balanced(self) -> None:
        async def look() -> None:
            await self.flushed()
            for stats in self.journal.stats():
                assert stats.balanced, stats
                assert stats.pending_bytes >= 64 * stats.pending
            for lane in LANES:
                rows = await self.journal.peek(lane, 1000)
                assert [int(row.message.data) for row in rows] == self.pending[lane]
                (found,) = self.journal.stats(lane) or (None,)
                assert found is None or (found.accepted, found.pending) == (self.accepted[lane], len(rows))
                dead = await self.journal.peek(f"dead/{lane}", 1000)
                assert [int(row.message.data) for row in dead] == self.dead[lane]

        self.runner.run(look())


JournalMachine.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestJournal = JournalMachine.TestCase
