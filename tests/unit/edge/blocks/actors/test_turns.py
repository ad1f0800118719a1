"""Turn-based concurrency: order of arrival, one stack at a time, reentry by the running stack, whoever gives up gives up only his place."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.actor import ActorFailed, HostGone
from edge.blocks.actors.turns import StackTooDeep, Turns


class Witness:
    """Sees who is inside. Turns of different stacks must never overlap."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.inside: Counter[str] = Counter()
        self.order: list[str] = []
        self.overlaps = 0

    async def visit(self, name: str, stack: str, steps: int, nested: int = 0, max_depth: int = 99) -> None:
        async def work() -> None:
            who = stack or name
            self.inside[who] += 1
            self.overlaps += any(count for other, count in self.inside.items() if other != who)
            for _ in range(steps):
                await asyncio.sleep(0)
            if nested:
                await self.visit(f"{name}+", stack, steps, nested - 1, max_depth)
            self.inside[who] -= 1

        await self.turns.run(stack, max_depth, lambda: self.order.append(name), work)


calls = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12)


@given(calls)
@settings(deadline=None)
def test_stacks_never_overlap_and_calls_come_in_order_of_arrival(plan: list[tuple[int, int, int]]) -> None:
    async def scenario() -> Witness:
        witness = Witness()
        async with asyncio.TaskGroup() as group:
            for number, (stack, steps, nested) in enumerate(plan):
                name = f"{number:02}"
                group.create_task(witness.visit(name, f"s{stack}" if stack else "", steps, nested if stack else 0))
        return witness

    witness = asyncio.run(scenario())

    assert not witness.overlaps
    assert not witness.turns.busy
    outer = [name for name in witness.order if "+" not in name]
    assert sorted(outer) == [f"{number:02}" for number in range(len(plan))]
    alone = [name for name in outer if not plan[int(name)][0]]
    assert alone == sorted(alone)


@given(calls, st.lists(st.integers(0, 11), max_size=6), st.integers(0, 8))
@settings(deadline=None)
def test_callers_that_give_up_block_nobody(plan: list[tuple[int, int, int]], cancelled: list[int], after: int) -> None:
    async def scenario() -> tuple[Witness, list[int]]:
        witness = Witness()
        tasks = [
            asyncio.create_task(witness.visit(f"{number:02}", f"s{stack}" if stack else "", steps, nested if stack else 0))
            for number, (stack, steps, nested) in enumerate(plan)
        ]
        for _ in range(after):
            await asyncio.sleep(0)
        for number in cancelled:
            if number < len(tasks):
                tasks[number].cancel()
        async with asyncio.timeout(5):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        return witness, [number for number, result in enumerate(results) if result is None]

    witness, finished = asyncio.run(scenario())

    assert not witness.turns.busy
    assert {number for number in range(len(plan)) if number not in cancelled} <= set(finished)


@given(st.integers(1, 6), st.integers(1, 8))
@settings(deadline=None)
def test_a_stack_enters_as_often_as_the_depth_allows(max_depth: int, wanted: int) -> None:
    async def scenario() -> tuple[bool, bool]:
        witness, refused = Witness(), False
        try:
            await witness.visit("a", "stack", 0, wanted - 1, max_depth)
        except StackTooDeep:
            refused = True
        await witness.visit("later", "", 0)
        return refused, witness.turns.busy

    assert asyncio.run(scenario()) == (wanted > max_depth, False)


def test_without_reentrancy_an_actor_that_calls_itself_waits() -> None:
    async def scenario() -> None:
        witness = Witness()

        async def work() -> None:
            await witness.visit("inner", "", 0)

        async with asyncio.timeout(0.02):
            await witness.turns.run("", 99, lambda: None, work)

    with pytest.raises(TimeoutError):
        asyncio.run(scenario())


def test_closing_lets_the_running_turn_end_and_refuses_the_others() -> None:
    async def scenario() -> list[object]:
        witness = Witness()
        running = asyncio.create_task(witness.visit("running", "", 3))
        waiting = asyncio.create_task(witness.visit("waiting", "", 0))
        await asyncio.sleep(0)
        await witness.turns.close(1.0)
        late = await asyncio.gather(witness.visit("late", "", 0), return_exceptions=True)
        return [*await asyncio.gather(running, waiting, return_exceptions=True), *late]

    ended, waiting, late = asyncio.run(scenario())

    assert ended is None
    assert isinstance(waiting, HostGone) and isinstance(late, HostGone)


def test_closing_without_patience_cuts_the_running_turn() -> None:
    async def scenario() -> object:
        turns = Turns()
        running = asyncio.create_task(turns.run("", 1, lambda: None, lambda: asyncio.sleep(60)))
        await asyncio.sleep(0)
        await turns.close(0.0)
        return (await asyncio.gather(running, return_exceptions=True))[0]

    cut = asyncio.run(scenario())

    assert isinstance(cut, ActorFailed) and str(cut) == "context canceled"
