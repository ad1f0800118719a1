"""Cron texts give the times that the scheduler service gives, and its refusals."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cron import Cron, parse

NOW = datetime(2026, 3, 7, 5, 6, 7, tzinfo=UTC).timestamp()


def times(text: str, count: int = 2) -> list[str]:
    schedule, found, at = parse(text), [], NOW
    for _ in range(count):
        following = schedule.next(at)
        if following is None:
            break
        at = following
        found.append(datetime.fromtimestamp(at, UTC).isoformat()[:19])
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*/2 * * * * *", ["2026-03-07T05:06:08", "2026-03-07T05:06:10"]),
        ("10/20 * * * * *", ["2026-03-07T05:06:10", "2026-03-07T05:06:30"]),
        ("@daily", ["2026-03-08T00:00:00", "2026-03-09T00:00:00"]),
        ("0 30 9 * * MON", ["2026-03-09T09:30:00", "2026-03-16T09:30:00"]),
        ("0 0 0 13 * fri", ["2026-03-13T00:00:00", "2026-03-20T00:00:00"]),
        ("0 0 0 29 feb *", ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]),
        ("0 0 0 31 2 *", []),
        ("@every 1h", ["2026-03-07T06:06:07", "2026-03-07T07:06:07"]),
    ],
)
def test_next_times(text: str, expected: list[str]) -> None:
    assert times(text) == expected


def test_a_zone_skips_the_missing_hour_and_repeats_the_double_one() -> None:
    assert times("CRON_TZ=America/New_York 0 30 2 * * *") == ["2026-03-07T07:30:00", "2026-03-09T06:30:00"]
    assert times("TZ= 0 0 0 1 1 *") == times("0 0 0 1 1 *")
    assert times("TZ=America/New_York 0 30 1 1 11 *") == ["2026-11-01T05:30:00", "2026-11-01T06:30:00"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("every monday", "expected exactly 6 fields, found 2: [every monday]"),
        ("*/5 * * * *", "expected exactly 6 fields, found 5: [*/5 * * * *]"),
        ("", "empty spec string"),
        ("0 0 0 * * 7", "end of range (7) above maximum (6): 7"),
        ("0 0 0 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * * *", "too many hyphens: 1-2-3"),
        ("@sometimes", "unrecognized descriptor: @sometimes"),
        ("TZ=UTC @every 1s", "timezone is not supported for @every schedules: TZ=UTC @every 1s"),
        ("TZ=Nowhere/At * * * * * *", "provided bad location Nowhere/At: unknown time zone Nowhere/At"),
        ("@every soon", 'failed to parse duration @every soon: time: invalid duration "soon"'),
    ],
)
def test_refusals_have_the_services_words(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)

    assert str(caught.value) == message


def test_five_fields_are_taken_where_seconds_are_optional() -> None:
    assert parse("*/5 * * * *", seconds_optional=True) == parse("0 */5 * * * *")


@given(st.integers(0, 59), st.integers(0, 59), st.integers(0, 23), st.integers(0, 4_000_000_000))
def test_the_next_time_matches_all_fields_and_is_later(second: int, minute: int, hour: int, after: int) -> None:
    schedule = parse(f"{second} {minute} {hour} * * *")
    assert isinstance(schedule, Cron)

    due = schedule.next(after)

    assert due is not None and 0 < due - after <= 86400
    local = datetime.fromtimestamp(due, UTC)
    assert (local.second, local.minute, local.hour) == (second, minute, hour)
