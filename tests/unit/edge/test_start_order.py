"""Work that nobody waits for begins when the daemon answers."""

from __future__ import annotations

import asyncio

from edge.tasks import Tasks, after_start, starting


async def test_work_that_nobody_waits_for_begins_once_the_apis_listen() -> None:
    began = asyncio.Event()

    async def work() -> None:
        await after_start()
        began.set()

    async with Tasks("t") as tasks:
        listening = starting()
        tasks.start("work", work())
        for _ in range(5):
            await asyncio.sleep(0)
        before = began.is_set()
        listening()
        await asyncio.wait_for(began.wait(), 10)

    assert not before


async def test_without_a_start_it_begins_at_once() -> None:
    await asyncio.wait_for(after_start(), 10)


async def test_what_comes_after_the_start_waits_no_more() -> None:
    starting()()
    await asyncio.wait_for(after_start(), 10)
    began = asyncio.get_running_loop().time()
    await after_start()

    assert asyncio.get_running_loop().time() - began < 1
