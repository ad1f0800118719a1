"""Delays between tries, and which codes are worth one."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.resiliency import Retry
from edge.resiliency.retry import HTTP_CODES, parse_codes


def test_a_constant_policy_waits_the_same_each_time() -> None:
    assert list(Retry(duration=2, max_retries=3).delays()) == [2, 2, 2]
    assert list(islice(Retry(duration=2).delays(), 100)) == [2] * 100
    assert list(Retry(max_retries=0).delays()) == []


@given(st.integers(1, 40))
def test_exponential_delays_grow_by_half_within_their_jitter(count: int) -> None:
    delays = list(Retry(exponential=True, max_retries=count, max_interval=10, max_elapsed=0).delays())

    assert len(delays) == count
    for number, delay in enumerate(delays):
        middle = min(0.5 * 1.5**number, 10)
        assert middle * 0.5 <= delay <= middle * 1.5


def test_an_exponential_policy_ends_with_its_elapsed_time() -> None:
    assert list(Retry(exponential=True, max_elapsed=0.1).delays()) == []


def test_codes_are_lists_and_ranges() -> None:
    assert parse_codes("429,501-503,,504", HTTP_CODES) == ((429, 429), (501, 503), (504, 504))
    assert parse_codes("", HTTP_CODES) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", "start code 5 is not valid"),
        ("500-600", "end code 600 is not valid"),
        ("503-500", "start value should not bigger than end value"),
        ("500-501-502", "more than one '-' exists"),
        ("x", "failed to parse start code x"),
        ("500-", "failed to parse end code  from pattern 500-"),
        ("-1", "failed to parse start code"),
    ],
)
def test_a_bad_pattern_is_refused_in_daprs_words(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_codes(text, HTTP_CODES)


@given(st.text("0123456789-, x", max_size=12))
def test_any_pattern_is_read_or_refused(text: str) -> None:
    try:
        ranges = parse_codes(text, HTTP_CODES)
    except ValueError:
        return
    assert ranges is None or all(100 <= low <= high <= 599 for low, high in ranges)
