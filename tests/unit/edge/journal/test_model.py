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
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.database import Database, Options
from edge.journal import Entry, Journal
from edge.model import Message

LANES = ("out/p/a", "out/p/b", "in/app/p/c")
AWAY = 10_000.0
UNSYNCED = Options(pragmas=("synchronous=OFF",))  # what a power cut takes is the business of tests/faults
EXAMPLES = int(os.environ.get("EXAMPLES", "20"))
lanes = st.sampled_from(LANES)


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

    @precondition(lambda self: any(self.taken.values()))
    @rule(data=st.data(), verb=st.sampled_from(("done", "drop", "release", "retry", "bury")))
    def end(self, data: st.DataObject, verb: str) -> None:
        lane = data.draw(st.sampled_from([lane for lane in LANES if self.taken[lane]]))
        entry = data.draw(st.sampled_from(self.taken[lane]))
        self.taken[lane].remove(entry)
        number = int(entry.message.data)
        match verb:
            case "release":
                return self.journal.release(entry)
            case "retry":
                self.aside[lane].add(number)
                return self.runner.run(self.journal.retry(entry, AWAY, "no"))
            case "bury":
                self.dead[lane].append(number)
                self.runner.run(self.journal.bury(entry, "poison"))
            case "drop":
                self.runner.run(self.journal.drop(entry, "unwanted"))
            case _:
                self.runner.run(self.journal.done(entry))
        self.pending[lane].remove(number)
        self.ended[lane] += 1
        return None

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
