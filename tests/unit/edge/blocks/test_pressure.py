"""Publishers give way to deliveries that lag, for a bounded time, and only where that can help."""

from __future__ import annotations

import asyncio

from edge.blocks.pressure import FADES, LONGEST, SHALLOW, Pressure


async def paused(pressure: Pressure) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await pressure.ease()
    return loop.time() - began


def noted(depth: int, service: float) -> float:
    async def script() -> float:
        pressure = Pressure()
        for _ in range(100):
            pressure.note(depth, service)
        return await paused(pressure)

    return asyncio.run(script())


def test_publisher_waits_while_a_quick_app_lags() -> None:
    assert noted(depth=20, service=0.001) >= 0.03


def test_pause_is_bounded() -> None:
    async def script() -> None:
        pressure = Pressure()
        for _ in range(100):
            pressure.note(10_000, 0.001)
        async with asyncio.timeout(LONGEST * 100):
            await pressure.ease()
        assert pressure._pause == LONGEST

    asyncio.run(script())


def test_slow_app_slows_no_publisher() -> None:
    assert noted(depth=10_000, service=1.0) < 0.02


def test_short_queue_slows_no_publisher() -> None:
    assert noted(depth=SHALLOW - 1, service=0.001) < 0.02


def test_pressure_fades_when_nothing_is_delivered() -> None:
    async def script() -> float:
        pressure = Pressure()
        for _ in range(100):
            pressure.note(1000, 0.001)
        await asyncio.sleep(FADES / 2)
        await asyncio.sleep(FADES / 2 + 0.01)
        return await paused(pressure)

    assert asyncio.run(script()) < 0.02
