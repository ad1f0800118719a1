"""Due times are rows: they fire in order, at least once, again after a crash, and cost no memory while they wait."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from edge.blocks.schedule import make
from edge.blocks.series import Item, Outcome, Series
from edge.clock import SystemClock
from edge.database import Database
from edge.firing import Again, Entry
from edge.scheduler import Rewound, Scheduler
from edge.tasks import Tasks

KIND = "job/default/bell"


class JumpingClock(SystemClock):
    """The machine's clock, set forward by hand."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


@contextlib.asynccontextmanager
async def opened(folder: Path, clock: SystemClock | None = None) -> AsyncIterator[Scheduler]:
    async with Database.open(folder / "edged.db") as database, Tasks("test") as tasks:
        yield Scheduler(database, tasks, clock or SystemClock())


async def until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.002)


def noting(fired: list[str], answer: Again | None = None) -> Callable[[Entry], Awaitable[Again | None]]:
    async def fire(entry: Entry) -> Again | None:
        fired.append(entry.key)
        return answer

    return fire


def test_entries_fire_in_the_order_of_their_due_times(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        fired: list[str] = []
        async with opened(tmp_path) as scheduler:
            now = time.time()
            scheduler.attach(KIND, noting(fired), limit=1)
            await asyncio.gather(*[scheduler.put(KIND, key, now + after, b"") for key, after in (("c", 0.06), ("a", 0.02), ("b", 0.04))])
            await until(lambda: scheduler.count(KIND) == 0)
        return fired

    assert asyncio.run(scenario()) == ["a", "b", "c"]


def test_an_entry_never_fires_early(tmp_path: Path) -> None:
    async def scenario() -> float:
        late: list[float] = []

        async def fire(entry: Entry) -> None:
            late.append(time.time() - entry.due)

        async with opened(tmp_path) as scheduler:
            scheduler.attach(KIND, fire)
            for number in range(20):
                await scheduler.put(KIND, str(number), time.time() + 0.01 * number, b"")
            await until(lambda: len(late) == 20)
        return min(late)

    assert asyncio.run(scenario()) >= -0.001


def test_a_handler_may_ask_for_another_time(tmp_path: Path) -> None:
    async def scenario() -> list[bytes]:
        states: list[bytes] = []

        async def fire(entry: Entry) -> Again | None:
            states.append(entry.state)
            return Again(time.time() + 0.01, b"%d" % len(states)) if len(states) < 3 else None

        async with opened(tmp_path) as scheduler:
            scheduler.attach(KIND, fire)
            await scheduler.put(KIND, "k", 0, b"")
            await until(lambda: scheduler.count(KIND) == 0)
        return states

    assert asyncio.run(scenario()) == [b"", b"1", b"2"]


def test_what_was_being_fired_fires_again_after_a_crash(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        fired: list[str] = []

        async def hang(entry: Entry) -> None:
            fired.append(entry.key)
            await asyncio.sleep(60)

        async with opened(tmp_path) as scheduler:
            scheduler.attach(KIND, hang)
            await scheduler.put(KIND, "k", 0, b"")
            await until(lambda: fired == ["k"])
        async with opened(tmp_path) as scheduler:
            scheduler.attach(KIND, noting(fired))
            await until(lambda: scheduler.count(KIND) == 0)
        return fired

    assert asyncio.run(scenario()) == ["k", "k"]


def test_entries_wait_until_somebody_attaches(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        fired: list[str] = []
        async with opened(tmp_path) as scheduler:
            await scheduler.put(KIND, "early", 0, b"")
            await scheduler.put("job/default/other", "foreign", 0, b"")
            detach = scheduler.attach(KIND, noting(fired))
            await until(lambda: scheduler.count(KIND) == 0)
            await detach(0.0)
            await scheduler.put(KIND, "late", 0, b"")
            await asyncio.sleep(0.02)
        return fired

    assert asyncio.run(scenario()) == ["early"]


def test_what_was_deleted_or_replaced_does_not_fire(tmp_path: Path) -> None:
    async def scenario() -> tuple[list[bytes], bool, bool]:
        fired: list[bytes] = []

        async def fire(entry: Entry) -> None:
            fired.append(entry.data)

        async with opened(tmp_path) as scheduler:
            soon = time.time() + 0.5
            await scheduler.put(KIND, "gone", soon, b"gone")
            await scheduler.put(KIND, "kept", soon, b"old")
            kept = await scheduler.put(KIND, "kept", soon, b"ignored", overwrite=False)
            await scheduler.put(KIND, "kept", soon, b"new")
            scheduler.attach(KIND, fire)
            gone = await scheduler.delete(KIND, "gone")
            await until(lambda: scheduler.count(KIND) == 0)
        return fired, kept, gone

    assert asyncio.run(scenario()) == ([b"new"], False, True)


def test_a_replacement_made_while_firing_survives(tmp_path: Path) -> None:
    async def scenario() -> bytes:
        async with opened(tmp_path) as scheduler:

            async def fire(entry: Entry) -> None:
                await scheduler.put(KIND, "k", time.time() + 60, b"new")

            scheduler.attach(KIND, fire)
            await scheduler.put(KIND, "k", 0, b"old")
            await until(lambda: (entry := scheduler.get(KIND, "k")) is not None and entry.data == b"new")
            await asyncio.sleep(0.02)
            kept = scheduler.get(KIND, "k")
            assert kept is not None
            return kept.data

    assert asyncio.run(scenario()) == b"new"


def test_lists_and_prefixes(tmp_path: Path) -> None:
    async def scenario() -> tuple[list[str], int, list[str]]:
        async with opened(tmp_path) as scheduler:
            for key in ("a1", "a2", "b1", "a%"):
                await scheduler.put(KIND, key, 1e12, b"")
            found = [entry.key for entry in await scheduler.list(KIND, "a")]
            removed = await scheduler.delete_prefix(KIND, "a")
            return found, removed, [entry.key for entry in await scheduler.list(KIND)]

    assert asyncio.run(scenario()) == (["a%", "a1", "a2"], 3, ["b1"])


def test_long_lists_come_whole(tmp_path: Path) -> None:
    async def scenario() -> int:
        async with opened(tmp_path) as scheduler:
            await asyncio.gather(*[scheduler.put(KIND, f"{number:05}", 1e12, b"") for number in range(1201)])
            return len(await scheduler.list(KIND))

    assert asyncio.run(scenario()) == 1201


def test_a_handler_that_raises_is_called_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.firing.PAUSE", 0.01)

    async def scenario() -> int:
        calls = 0

        async def fire(entry: Entry) -> None:
            nonlocal calls
            calls += 1
            if calls < 3:
                raise RuntimeError("not yet")

        async with opened(tmp_path) as scheduler:
            scheduler.attach(KIND, fire)
            await scheduler.put(KIND, "k", 0, b"")
            await until(lambda: scheduler.count(KIND) == 0)
        return calls

    assert asyncio.run(scenario()) == 3


def test_no_more_than_the_limit_run_at_once(tmp_path: Path) -> None:
    async def scenario() -> tuple[int, int]:
        running = most = done = 0

        async def fire(entry: Entry) -> None:
            nonlocal running, most, done
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1
            done += 1

        async with opened(tmp_path) as scheduler:
            await asyncio.gather(*[scheduler.put(KIND, str(number), 0, b"") for number in range(700)])
            scheduler.attach(KIND, fire, limit=7)
            await until(lambda: scheduler.count(KIND) == 0)
        return most, done

    assert asyncio.run(scenario()) == (7, 700)


def test_a_clock_set_forward_makes_entries_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.firing.LONGEST_SLEEP", 0.01)

    async def scenario() -> list[str]:
        fired: list[str] = []
        clock = JumpingClock()
        async with opened(tmp_path, clock) as scheduler:
            scheduler.attach(KIND, noting(fired))
            await scheduler.put(KIND, "tomorrow", time.time() + 86400, b"")
            await asyncio.sleep(0.03)
            assert not fired
            clock.ahead = 90000.0
            await until(lambda: scheduler.count(KIND) == 0)
        return fired

    assert asyncio.run(scenario()) == ["tomorrow"]


def test_a_clock_set_back_does_not_keep_entries_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.firing.LONGEST_SLEEP", 0.01)

    async def scenario() -> list[str]:
        fired: list[str] = []
        clock = JumpingClock()
        clock.ahead = 1e7
        async with opened(tmp_path, clock) as scheduler:
            scheduler.attach(KIND, noting(fired), rewind=lambda entry, now: Rewound(now + 0.02, entry.data, entry.state))
            await scheduler.put(KIND, "soon", clock.now() + 0.05, b"", since=clock.now())
            await scheduler.put(KIND, "a point in time", clock.now() + 0.05, b"")
            clock.ahead = 0.0
            await until(lambda: scheduler.count(KIND) == 1)
        return fired

    assert asyncio.run(scenario()) == ["soon"]


def test_a_firing_under_way_when_the_clock_is_set_back_is_reckoned_anew(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        fired: list[str] = []
        clock = JumpingClock()
        clock.ahead = 1e7

        async def fire(entry: Entry) -> Again | None:
            began = clock.now()
            clock.ahead = 0.0
            fired.append(entry.key)
            return Again(began + 0.02, since=began) if len(fired) == 1 else None

        async with opened(tmp_path, clock) as scheduler:
            scheduler.attach(KIND, fire, rewind=lambda entry, now: Rewound(now + 0.02, entry.data, entry.state))
            await scheduler.put(KIND, "beat", clock.now(), b"", since=clock.now())
            await until(lambda: scheduler.count(KIND) == 0)
        return fired

    assert asyncio.run(scenario()) == ["beat", "beat"]


def test_a_beat_goes_on_when_the_clock_is_set_back(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        fired: list[str] = []
        clock = JumpingClock()

        async def deliver(item: Item) -> Outcome:
            fired.append(item.key)
            return Outcome.DONE

        async with opened(tmp_path, clock) as scheduler:
            series = Series(scheduler)
            series.attach(KIND, deliver)
            clock.ahead = -1e7
            plan = make("@every 10ms", None, None, 3, clock.now())
            await series.put(KIND, Item("beat", plan, {}), overwrite=True)
            await until(lambda: scheduler.count(KIND) == 0)
        return fired

    assert asyncio.run(scenario()) == ["beat"] * 3


def test_a_clock_set_back_while_the_process_was_down_is_noticed(tmp_path: Path) -> None:
    async def before() -> None:
        async with opened(tmp_path) as scheduler:
            await scheduler.put(KIND, "soon", time.time() + 1e7, b"", since=time.time() + 1e7)

    async def scenario() -> list[str]:
        fired: list[str] = []
        async with opened(tmp_path) as scheduler:
            scheduler.attach(KIND, noting(fired), rewind=lambda entry, now: Rewound(now + 0.02, entry.data, entry.state))
            await until(lambda: fired != [])
        return fired

    asyncio.run(before())
    assert asyncio.run(scenario()) == ["soon"]
