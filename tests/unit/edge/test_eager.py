"""Fewer trips through the loop, and otherwise what asyncio's own futures and tasks do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edge import eager
from edge.eager import Deadlines, Prompt


async def turn() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("eagerly", [True, False])
def test_a_waiter_goes_on_inside_set_result(eagerly: bool) -> None:
    """In a callback of the loop; the waiter is an eager task or one of asyncio's."""

    async def main() -> list[str]:
        loop, seen = asyncio.get_running_loop(), []
        prompt: Prompt[str] = Prompt(loop)
        over = loop.create_future()

        async def work() -> None:
            seen.append(await prompt)

        def begin() -> None:
            tasks.append(eager.start(work(), loop, "w") if eagerly else loop.create_task(work()))

        def bring() -> None:
            prompt.set_result("result")
            seen.append("behind")
            over.set_result(None)

        tasks: list[asyncio.Future[None]] = []
        loop.call_soon(begin)
        await turn()
        await turn()
        loop.call_soon(bring)
        await over
        await asyncio.gather(*tasks)
        return seen

    assert asyncio.run(main()) == ["result", "behind"]


def test_a_task_that_sets_a_result_is_not_interrupted() -> None:
    async def main() -> list[str]:
        seen: list[str] = []
        prompt: Prompt[str] = Prompt(asyncio.get_running_loop())

        async def work() -> None:
            seen.append(await prompt)

        task = asyncio.create_task(work())
        await turn()
        prompt.set_result("result")
        seen.append("behind")
        await task
        return seen

    assert asyncio.run(main()) == ["behind", "result"]


@pytest.mark.parametrize("end", ["exception", "cancel", "cancel the waiter"])
def test_other_ends_reach_the_waiter_too(end: str) -> None:
    async def main() -> Any:
        prompt: Prompt[str] = Prompt(asyncio.get_running_loop())

        async def work() -> str:
            return await prompt

        task = asyncio.create_task(work())
        await turn()
        if end == "exception":
            prompt.set_exception(KeyError("gone"))
        elif end == "cancel":
            prompt.cancel()
        else:
            task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        return type(result), prompt.cancelled()

    assert asyncio.run(main()) == {
        "exception": (KeyError, False),
        "cancel": (asyncio.CancelledError, True),
        "cancel the waiter": (asyncio.CancelledError, True),
    }.get(end)


def test_every_callback_is_called_once_and_a_removed_one_never() -> None:
    async def main() -> list[str]:
        loop, seen = asyncio.get_running_loop(), []
        prompt: Prompt[None] = Prompt(loop)
        calls = {name: (lambda _, name=name: seen.append(name)) for name in "abc"}
        for call in calls.values():
            prompt.add_done_callback(call)
        assert prompt.remove_done_callback(calls["a"]) == 1
        assert prompt.remove_done_callback(calls["c"]) == 1
        loop.call_soon(prompt.set_result, None)
        await asyncio.wait((prompt,), timeout=5)
        prompt.add_done_callback(calls["a"])
        await turn()
        await turn()
        return seen

    assert asyncio.run(main()) == ["b", "a"]


def test_a_callback_that_fails_does_not_harm_who_sets_the_result() -> None:
    async def main() -> list[str]:
        loop, told = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: told.append(type(context["exception"]).__name__))
        prompt: Prompt[None] = Prompt(loop)
        prompt.add_done_callback(lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
        loop.call_soon(prompt.set_result, None)
        await prompt
        return told

    assert asyncio.run(main()) == ["ZeroDivisionError"]


def test_a_deadline_passes_over_what_is_done() -> None:
    async def main() -> tuple[list[str], str]:
        deadlines = Deadlines(0.02, lambda: TimeoutError("too late"))
        futures = [Prompt[str](deadlines.loop) for _ in range(3)]
        for future in futures:
            deadlines.add(future)
        futures[0].set_result("a")
        futures[2].set_result("c")
        with pytest.raises(TimeoutError, match="too late"):
            await futures[1]
        fourth: Prompt[str] = Prompt(deadlines.loop)
        deadlines.add(fourth)
        with pytest.raises(TimeoutError, match="too late"):
            await fourth
        return [futures[0].result(), futures[2].result()], "over"

    assert asyncio.run(main()) == (["a", "c"], "over")
