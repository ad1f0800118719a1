"""Whole numbers as Go reads them."""

from __future__ import annotations

import pytest

from edge.gointeger import parse_int, parse_uint, quote


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('W/"1"', '"W/\\"1\\""'),
        ("a\\b\n\x00\x7f", '"a\\\\b\\n\\x00\\x7f"'),
        ("é \u00a0\u2028", '"é \\u00a0\\u2028"'),
        ("😀\U000e0001", '"😀\\U000e0001"'),
    ],
)
def test_texts_are_quoted_as_go_does(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_numbers_have_64_bits() -> None:
    assert parse_int("+0009") == 9
    assert parse_int("-9223372036854775808") == -(1 << 63)
    assert parse_uint("4294967295", 32) == 4294967295


@pytest.mark.parametrize("text", ["", " 5", "5 ", "1.5", "0x1", "٣", "1_0"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid syntax"):
        parse_int(text, "Atoi")


@pytest.mark.parametrize("text", ["9223372036854775808", "9" * 5000])
def test_a_number_that_is_too_large_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="value out of range"):
        parse_int(text)
    with pytest.raises(ValueError, match="value out of range"):
        parse_uint(text, 32)
