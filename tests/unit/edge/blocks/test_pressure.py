"""Publishers go at the pace of deliveries that lag, for a bounded time, and only where that can help."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from edge.blocks.pressure import LONGEST, RESPITE, SHALLOW, STALL, Pressure

QUICK, SLOW = 0.001, 1.0
PUBLISHERS = 40


def run(script: Coroutine[Any, Any, None]) -> None:
    async def timed() -> None:
        async with asyncio.timeout(20):
            await script

    asyncio.run(timed())


async def lagging(depth: int, service: float = QUICK) -> tuple[Pressure, list[asyncio.Task[None]]]:
    """After a hundred deliveries that took `service` seconds, `depth` messages wait and many publish at once."""
    pressure = Pressure()
    for _ in range(100):
        pressure.ended(depth, service)
    publishers = [asyncio.create_task(pressure.ease()) for _ in range(PUBLISHERS)]
    await asyncio.sleep(0)
    return pressure, publishers


async def gone_on(publishers: list[asyncio.Task[None]]) -> int:
    await asyncio.sleep(0)
    return sum(publisher.done() for publisher in publishers)


def test_each_delivery_lets_one_publisher_go_on() -> None:
    async def script() -> None:
        pressure, publishers = await lagging(SHALLOW)
        before = await gone_on(publishers)
        assert before <= SHALLOW
        for more in range(1, 11):
            pressure.ended(SHALLOW, QUICK)
            assert await gone_on(publishers) == before + more

    run(script())


def test_deliveries_catch_up_where_many_messages_wait() -> None:
    async def script() -> None:
        pressure, publishers = await lagging(SHALLOW * 8)
        before = await gone_on(publishers)
        for _ in range(16):
            pressure.ended(SHALLOW * 8, QUICK)
        assert 3 <= await gone_on(publishers) - before <= 5

    run(script())


def test_publishers_gain_where_few_wait_and_do_not_all_come_at_once() -> None:
    async def script() -> None:
        pressure, publishers = await lagging(SHALLOW)
        before = await gone_on(publishers)
        for _ in range(5):
            pressure.ended(1, QUICK)
        assert 8 <= await gone_on(publishers) - before <= 12
        await asyncio.sleep(0)
        assert not publishers[-1].done()

    run(script())


def test_newcomer_does_not_overtake_those_that_wait() -> None:
    async def script() -> None:
        pressure, publishers = await lagging(SHALLOW)
        pressure.arrived(0)
        newcomer = asyncio.create_task(pressure.ease())
        assert not await gone_on([newcomer])
        await asyncio.gather(*publishers, newcomer)

    run(script())


def test_slow_app_slows_no_publisher() -> None:
    async def script() -> None:
        _, publishers = await lagging(10_000, SLOW)
        assert await gone_on(publishers) == PUBLISHERS

    run(script())


def test_short_queue_slows_no_publisher() -> None:
    async def script() -> None:
        _, publishers = await lagging(SHALLOW - 1)
        assert await gone_on(publishers) == PUBLISHERS

    run(script())


def test_nobody_waits_for_deliveries_that_have_ceased() -> None:
    async def script() -> None:
        _, publishers = await lagging(SHALLOW)
        await asyncio.sleep(STALL * 3)
        assert await gone_on(publishers) == PUBLISHERS

    run(script())


def test_wait_is_bounded_while_deliveries_go_on() -> None:
    async def script() -> None:
        pressure, publishers = await lagging(10_000)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while await gone_on(publishers) < PUBLISHERS:
            pressure.ended(10_000, QUICK)
            await asyncio.sleep(STALL / 4)
        assert LONGEST <= loop.time() - began

    run(script())


def test_app_that_publishes_what_it_is_given_does_not_wait_for_itself() -> None:
    async def script() -> None:
        pressure, _ = await lagging(SHALLOW * 8)
        loop = asyncio.get_running_loop()
        await asyncio.sleep(STALL * 3)  # those outside went on, the deliveries having ceased
        await asyncio.sleep(RESPITE)
        began = loop.time()
        for left in range(100, 0, -1):  # a backlog whose every delivery publishes before it ends
            await pressure.ease()
            pressure.ended(left, QUICK)
        assert loop.time() - began < 25 * STALL

    run(script())
