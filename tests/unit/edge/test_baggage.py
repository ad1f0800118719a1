"""Baggage is read and written again as OpenTelemetry Go does it."""

from __future__ import annotations

import pytest

from edge.api.baggage import parse

MANY = ",".join(f"k{number}=v" for number in range(65))
WRONG = "invalid baggage list-member"


@pytest.mark.parametrize(
    ("header", "written"),
    [
        ("a=b", "a=b"),
        ("a=b;p=1, c=d", "a=b;p=1,c=d"),
        (" a = b ; p ; q = 2 ;", "a=b;p;q=2"),
        ("a=1,b=2,a=3", "a=3,b=2"),
        ("a=%41%20b,c=%C3%BC", "a=A%20b,c=%C3%BC"),
        ("a=%FF", "a=%EF%BF%BD"),
        ("a=", "a="),
    ],
)
def test_what_is_baggage_is_written_again(header: str, written: str) -> None:
    assert parse(header) == (written, "")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("bad", f'{WRONG}: "bad"'),
        ("=b", 'invalid key: ""'),
        ("a=b c", 'invalid value: "b c"'),
        ("a=%ZZ", 'invalid value: invalid URL escape "%ZZ"'),
        ("a=b;p=%Z", f'{WRONG} property: "p=%Z"'),
        ("a=" + "b" * 9000, "baggage-string too large: 9002"),
        (MANY, "too many list-members in baggage-string"),
        (f"bad,{MANY},worse", f'{WRONG}: "bad"\ntoo many list-members in baggage-string'),
        ("a,b,c,d,e,f,g=h", "\n".join([*(f'{WRONG}: "{one}"' for one in "abcde"), "and 1 more invalid member(s)"])),
    ],
)
def test_what_is_none_is_refused_in_its_words(header: str, problem: str) -> None:
    assert parse(header)[1] == problem
