"""The timing rules of jobs and reminders, against what daprd's scheduler was seen to do."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.blocks.schedule import Plan, Policy, Progress, Step, dump_plan, load_plan, make

NOW = 1_000_000.0


def plan(
    schedule: str | None = None, due: str | None = None, ttl: str | None = None, repeats: int | None = None, policy: Policy | None = None
) -> Plan:
    return make(schedule, due, ttl, repeats, NOW, policy)


def run(one: Plan, until: float, works: Callable[[float], bool] = lambda at: True, away: tuple[float, float] = (-1.0, -1.0)) -> list[float]:
    """The firings, in seconds after registration, of a daemon that is down during `away` and always in time else."""
    fired, step = [], one.first()
    while step is not None and len(fired) < 1000:
        at = max(step.due - NOW, fired[-1] if fired else 0.0)
        missed = away[0] < at < away[1]
        at = away[1] if missed else at
        if at > until:
            break
        fired.append(round(at, 3))
        served = NOW + away[1] if missed else NOW + at - 60
        step = one.succeeded(step.progress, served) if works(at) else one.failed(step.progress, step.due, served)
    return fired


def test_a_due_time_fires_once() -> None:
    assert run(plan(due="1s"), 10) == [1.0]
    assert run(plan(due="-5s"), 10) == [0.0]


def test_a_schedule_first_fires_one_period_later_and_at_once_with_a_due_time() -> None:
    assert run(plan("@every 1s", repeats=3), 10) == [1.0, 2.0, 3.0]
    assert run(plan("@every 1s", "0s", repeats=3), 10) == [0.0, 1.0, 2.0]


def test_the_time_to_live_counts_from_the_due_time_else_from_now() -> None:
    assert run(plan("@every 1s", "500ms", "2200ms"), 10) == [0.5, 1.5, 2.5]
    assert run(plan("@every 1s", ttl="2500ms"), 10) == [1.0, 2.0]


def test_a_failing_tick_is_tried_four_times_a_second_apart() -> None:
    assert run(plan(due="0s"), 20, works=lambda at: False) == [0.0, 1.0, 2.0, 3.0]
    assert run(plan(due="0s", policy=Policy(interval=0.7, retries=2)), 20, works=lambda at: False) == [0.0, 0.7, 1.4]
    assert run(plan(due="0s", policy=Policy(drop=True)), 20, works=lambda at: False) == [0.0]


def test_without_a_limit_a_tick_is_tried_until_it_works() -> None:
    assert run(plan(due="0s", policy=Policy(interval=0.5, retries=None)), 20, works=lambda at: at >= 3) == [
        0.0,
        0.5,
        1.0,
        1.5,
        2.0,
        2.5,
        3.0,
    ]


def test_ticks_that_waited_behind_a_failing_one_follow_in_a_burst() -> None:
    assert run(plan("@every 2s", "0s"), 4.5, works=lambda at: False) == [0.0, 1.0, 2.0, 3.0, 3.0, 3.0, 4.0]


def test_ticks_missed_while_away_fire_once_and_the_beat_goes_on() -> None:
    assert run(plan("@every 1s"), 8, away=(2.5, 6.2)) == [1.0, 2.0, 6.2, 7.0, 8.0]
    assert run(plan("*/2 * * * * *"), 12, away=(2.5, 9.5)) == [2.0, 9.5, 10.0, 12.0]
    assert run(plan(due="3s"), 20, away=(2.5, 9.5)) == [9.5]


def test_a_missed_tick_is_not_retried_in_a_burst() -> None:
    assert run(plan(due="1s"), 200, works=lambda at: False, away=(0.5, 100)) == [100.0, 101.0, 102.0, 103.0]


def test_a_zero_period_goes_on_without_pause_but_not_without_end_of_the_processor() -> None:
    fired = run(plan("@every 0s", "500ms"), 1.0)

    assert fired[:3] == [0.5, 0.55, 0.6]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((None, None, None, None), "job must have either a due time or a schedule"),
        ((None, "1s", None, 3), "job must have a schedule to repeat"),
        (("@daily", None, None, 0), "defined repeats must be greater than 0"),
        ((None, "1s", "2s", None), "job must have a schedule to have a ttl"),
        (("every tuesday", None, None, None), "expected exactly 6 fields, found 2: [every tuesday]"),
        ((None, "soon", None, None), "due time format not recognized"),
        ((None, "R2/PT1S", None, None), "repeats not supported for due time"),
        (("@daily", None, "q", None), "ttl format not recognized"),
        (("@daily", "2h", "1970-01-01T00:00:00Z", None), "ttl must be greater than due time"),
    ],
)
def test_refusals_have_the_services_words(given: tuple[str | None, str | None, str | None, int | None], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make(*given, NOW)

    assert str(caught.value) == message


def test_a_plan_survives_the_file() -> None:
    whole = Plan("@daily", NOW, NOW + 1, 3, NOW + 99, Policy(interval=2.5, retries=None))

    assert load_plan(dump_plan(whole)) == whole
    assert load_plan(dump_plan(Plan("", NOW, NOW))) == Plan("", NOW, NOW)


@given(st.floats(0.1, 50), st.floats(0, 300), st.floats(0, 300), st.integers(1, 60))
def test_whatever_the_outage_a_tick_follows_within_one_period(period: float, down: float, length: float, repeats: int) -> None:
    one = plan(f"@every {period:.3f}s", repeats=repeats)
    fired = run(one, 1e9, away=(down, down + length))

    assert len(fired) == repeats
    gaps = [b - a for a, b in pairwise(fired)]
    assert all(gap <= period + length + 0.01 for gap in gaps)
    assert sum(1 for at in fired if abs(at - (down + length)) < 0.0005) <= 2


def test_progress_counts_only_finished_ticks() -> None:
    one = plan("@every 1s", repeats=2)
    first = one.first()
    assert first is not None

    second = one.succeeded(first.progress, NOW)

    assert second == Step(NOW + 2, Progress(1, NOW + 1.0, 0))
    assert one.succeeded(second.progress, NOW) is None


def test_a_clock_set_back_leaves_as_much_as_there_was() -> None:
    ahead = NOW + 31e6
    once, beat = make(None, "10m", None, None, ahead), make("@every 1h", None, "3h", None, ahead)
    plan, step = beat.rewound(Progress(2, ahead + 7200.0), NOW)

    assert once.rewound(Progress(), NOW)[1].due == NOW + 600
    assert (step.due, step.progress.count, plan.expires) == (NOW + 3600, 2, pytest.approx(NOW + 3600))
    assert beat.rewound(Progress(2, ahead + 7200.0, 1), NOW)[1].due == NOW, "a retry waits no longer"


def test_points_in_time_and_cron_stay_on_the_clock() -> None:
    ahead = NOW + 31e6
    fixed, daily = make(None, "2027-01-01T00:00:00Z", None, None, NOW), make("0 30 6 * * *", None, None, None, ahead)

    assert fixed.since(Progress()) == 0.0
    assert daily.rewound(Progress(), NOW)[1].due == make("0 30 6 * * *", None, None, None, NOW).first().due  # type: ignore[union-attr]
