"""The breaker follows gobreaker's states; a model with the same rules in the plainest words is the oracle."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cel import Condition
from edge.resiliency import Breaker, BreakerSettings, CircuitOpen


class Hands:
    """A monotonic clock that is turned by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def call(breaker: Breaker, succeeded: bool) -> None:
    breaker.after(breaker.before(), succeeded)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        call(breaker, False)


def test_it_opens_after_more_than_five_failures_in_a_row() -> None:
    breaker = Breaker("b", BreakerSettings())

    fail(breaker, 5)
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert breaker.state == "open"


def test_a_success_starts_the_row_anew() -> None:
    breaker = Breaker("b", BreakerSettings())

    fail(breaker, 5)
    call(breaker, True)
    fail(breaker, 5)

    assert breaker.state == "closed"


def test_after_its_timeout_probes_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, breaker = Hands(monkeypatch), Breaker("b", BreakerSettings(max_requests=2, timeout=5))
    fail(breaker, 6)

    clock.now += 5.1
    assert breaker.state == "half-open"
    first, second = breaker.before(), breaker.before()
    with pytest.raises(CircuitOpen, match=r"^too many requests$"):
        breaker.before()
    breaker.after(first, True)
    assert breaker.state == "half-open"
    breaker.after(second, True)

    assert breaker.state == "closed"


def test_a_failed_probe_opens_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, breaker = Hands(monkeypatch), Breaker("b", BreakerSettings(timeout=5))
    fail(breaker, 6)
    clock.now += 5.1

    call(breaker, False)

    assert breaker.state == "open"


def test_the_interval_clears_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, breaker = Hands(monkeypatch), Breaker("b", BreakerSettings(interval=10))
    fail(breaker, 5)
    clock.now += 10.1
    fail(breaker, 5)

    assert breaker.state == "closed"


def test_the_end_of_a_call_from_before_a_change_counts_no_more() -> None:
    breaker = Breaker("b", BreakerSettings())
    old = breaker.before()
    fail(breaker, 6)

    breaker.after(old, True)

    assert breaker.state == "open"


@pytest.mark.parametrize("trip", ["totalFailures > 1", "requests == 2 && consecutiveSuccesses == 0"])
def test_a_trip_condition_sees_the_counters(trip: str) -> None:
    breaker = Breaker("b", BreakerSettings(trip=Condition(trip)))

    fail(breaker, 1)
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert breaker.state == "open"


def test_a_condition_that_can_not_be_evaluated_does_not_trip() -> None:
    breaker = Breaker("b", BreakerSettings(trip=Condition("nosuch > 1")))

    fail(breaker, 50)

    assert breaker.state == "closed"


@given(st.lists(st.one_of(st.booleans(), st.floats(0.1, 30)), max_size=60))
def test_it_agrees_with_the_plainest_model(steps: list[bool | float]) -> None:
    """Steps: a call that succeeds or fails, or seconds that pass."""
    now, state, row, until = 1000.0, "closed", 0, 0.0
    with pytest.MonkeyPatch.context() as patch:
        clock = Hands(patch)
        breaker = Breaker("b", BreakerSettings(timeout=10))
        for step in steps:
            if isinstance(step, float):
                now, clock.now = now + step, clock.now + step
                continue
            if state == "open" and now > until:
                state = "half-open"
            if state == "open":
                with pytest.raises(CircuitOpen):
                    breaker.before()
                continue
            call(breaker, step)
            row = 0 if step else row + 1
            if state == "half-open" or row > 5:
                state, row = ("closed", 0) if step else ("open", 0)
                until = now + 10
            assert breaker.state == state
