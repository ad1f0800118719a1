"""Retry ( breaker ( timeout ( call ) ) ), as Dapr's runner does it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from edge.cel import Condition
from edge.resiliency import Breaker, BreakerSettings, CircuitOpen, CodeError, Policy, Retry, TimedOut

QUICK = Retry(duration=0.001, max_retries=3)


class Flaky:
    """Fails `failures` times, then answers."""

    def __init__(self, failures: int, error: Callable[[], Exception] = lambda: OSError("down")) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error()
        return "answer"


def test_a_call_that_fails_is_tried_again_until_it_answers() -> None:
    call = Flaky(3)

    assert asyncio.run(Policy("p", retry=QUICK).run(call)) == "answer"
    assert call.calls == 4


def test_the_last_failure_is_raised_when_tries_are_spent() -> None:
    call = Flaky(9)

    with pytest.raises(OSError, match="down"):
        asyncio.run(Policy("p", retry=QUICK).run(call))
    assert call.calls == 4


@pytest.mark.parametrize(("code", "calls"), [(503, 4), (500, 1), (14, 4), (3, 1), (700, 1)])
def test_only_matching_codes_are_tried_again(code: int, calls: int) -> None:
    call = Flaky(9, lambda: CodeError(code, result="the answer of the last try"))
    retry = Retry(duration=0, max_retries=3, http=((502, 504),), grpc=((14, 14),))

    with pytest.raises(CodeError) as caught:
        asyncio.run(Policy("p", retry=retry).run(call))
    assert call.calls == calls and caught.value.result == "the answer of the last try"


def test_a_slow_call_is_cancelled_and_the_caller_told() -> None:
    cancelled = []

    async def slow() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(TimedOut, match=r"^context deadline exceeded$"):
        asyncio.run(Policy("p", timeout=0.01).run(slow))
    assert cancelled


def test_a_timeout_of_the_call_itself_is_its_own_failure() -> None:
    async def gives_up() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        asyncio.run(Policy("p", timeout=1).run(gives_up))


def test_each_try_has_the_whole_timeout() -> None:
    calls = []

    async def slow() -> None:
        calls.append(1)
        await asyncio.sleep(1)

    with pytest.raises(TimedOut):
        asyncio.run(Policy("p", timeout=0.01, retry=Retry(duration=0, max_retries=2)).run(slow))
    assert len(calls) == 3


def test_an_open_breaker_refuses_without_calling_and_without_retry() -> None:
    breaker = Breaker("b", BreakerSettings(trip=Condition("consecutiveFailures >= 2")))
    call, policy = Flaky(99), Policy("p", retry=QUICK, breaker=breaker)

    with pytest.raises(CircuitOpen, match=r"^circuit breaker is open$"):
        asyncio.run(policy.run(call))
    assert call.calls == 2


def test_a_cancelled_retry_stops() -> None:
    async def main() -> int:
        call = Flaky(99)
        task = asyncio.create_task(Policy("p", retry=Retry(duration=10)).run(call))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return call.calls

    assert asyncio.run(main()) == 1


def test_the_observer_hears_what_was_activated() -> None:
    heard: list[tuple[str, ...]] = []

    class Ear:
        def executed(self, *what: str) -> None:
            heard.append(("executed", *what))

        def activated(self, *what: str) -> None:
            heard.append(("activated", *what))

    policy = Policy("p", retry=Retry(duration=0, max_retries=2), target="app_x", direction="outbound", observer=Ear())
    asyncio.run(policy.run(Flaky(2)))

    assert heard == [("executed", "retry", "app_x", "outbound", ""), ("activated", "retry", "app_x", "outbound", "")]
