"""Durations and times are read as Go and dapr/kit read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from edge.durations import format_go_duration, parse_duration, parse_go_duration, parse_iso_duration, parse_rfc3339, parse_time

PAST_INT64 = ["9223372036854775808ns", "2562048h", "9" * 5000 + "s", f"PT{1 << 63}S", f"R{1 << 63}/PT1S"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h30m", 5400), ("0h0m3s0ms0μs", 3), ("1.5s", 1.5), ("-5s", -5), ("0", 0), ("PT1S", 1), ("PT", 0), ("PT1H2M3S", 3723), ("P", None)],
)
def test_periods_are_iso_or_go(text: str, seconds: float | None) -> None:
    if seconds is None:
        with pytest.raises(ValueError, match=f"unsupported duration format: {text}"):
            parse_duration(text)
    else:
        assert parse_duration(text).seconds == seconds


@pytest.mark.parametrize("text", ["PT0.5S", "R/PT1S", "R3/PT0.7S", "1S", "P1H", "PT1Y", "PS", "tomorrow", "", "--1s", *PAST_INT64])
def test_what_kit_refuses_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unsupported duration format"):
        parse_duration(text)


def test_repetitions_are_counted_and_refused_for_points_in_time() -> None:
    assert parse_iso_duration("R4/PT30M").repeats == 4
    assert parse_iso_duration("P1W2D").days == 9
    with pytest.raises(ValueError, match="repetitions are not allowed"):
        parse_time("R2/PT1S", 0)


def test_calendar_months_run_over_as_in_go() -> None:
    start = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()

    after = parse_iso_duration("P1M").after(start)

    assert datetime.fromtimestamp(after, UTC) == datetime(2026, 3, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize(("text", "year"), [("P100000Y", 9999), ("P9999999999D", 9999), ("P-3000Y", 1), ("P9999Y", 9999)])
def test_dates_past_the_calendar_are_its_ends(text: str, year: int) -> None:
    assert datetime.fromtimestamp(parse_time(text, 1.0), UTC).year == year


def test_the_year_0_is_a_time_long_ago() -> None:
    assert parse_rfc3339("0000-02-29T00:00:00Z") < parse_rfc3339("0001-01-01T00:00:01Z")
    with pytest.raises(ValueError):
        parse_rfc3339("0000-02-30T00:00:00Z")


def test_times_are_rfc3339_or_from_now() -> None:
    assert parse_time("2026-01-02T03:04:05.25Z", 0) == datetime(2026, 1, 2, 3, 4, 5, 250000, UTC).timestamp()
    assert parse_rfc3339("2026-01-02T03:04:05+02:00") == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC).timestamp()
    assert parse_time("10s", 100.0) == 110.0
    with pytest.raises(ValueError, match="unsupported time/duration format: soon"):
        parse_time("soon", 0)


def test_go_texts_round_trip() -> None:
    assert [format_go_duration(s) for s in (0, 1, 3600, 0.25, 1.5, 90)] == ["0s", "1s", "1h0m0s", "250ms", "1.5s", "1m30s"]
    assert parse_go_duration(format_go_duration(5025.125)) == 5025.125
    assert format_go_duration(parse_go_duration("2562047h47m16.854775807s")) == "2562047h47m16.854775807s"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("5s ", r'unknown unit "s " in duration "5s "'),
        ("1s-1s", r'unknown unit "s-" in duration "1s-1s"'),
        ("1h0.0.5s", r'missing unit in duration "1h0.0.5s"'),
        ("5", r'missing unit in duration "5"'),
        ("é", r'invalid duration "\xc3\xa9"'),
        ('"1s"\n', r'invalid duration "\"1s\"\x0a"'),
    ],
)
def test_refused_durations_are_quoted_as_go_does(text: str, error: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_go_duration(text)
    assert str(raised.value) == f"time: {error}"
