"""Values that Go holds as interface{}: floats in Go's form, integers exact."""

from __future__ import annotations

import json
import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.gofloat import decode, float_text
from edge.gojson import encode
from edge.goscanner import JsonError

NUMBERS = [  # what daprd stores for a number, integers beyond 2^53 apart
    ("1.0", "1"),
    ("-0", "-0"),
    ("-0.0", "-0"),
    ("1e21", "1e+21"),
    ("1e20", "100000000000000000000"),
    ("1e-6", "0.000001"),
    ("1e-7", "1e-7"),
    ("0.1e1", "1"),
    ("0.00001234", "0.00001234"),
    ("5e-324", "5e-324"),
    ("1.5e300", "1.5e+300"),
    ("-1.25e-9", "-1.25e-9"),
    ("12345678901234567.5", "12345678901234568"),
    ("1234567890123456789012345.50", "1.2345678901234568e+24"),
    ("21.50", "21.5"),
]


@pytest.mark.parametrize(("given_text", "stored"), NUMBERS)
def test_numbers_are_written_as_go_writes_float64(given_text: str, stored: str) -> None:
    for form in ("%s", "[%s]", '{"a":%s}', '[1, %s ,"x"]'):
        value = encode(decode((form % given_text).encode()))

        assert value == (form % stored).replace(" ", "").encode()


@pytest.mark.parametrize("text", ["9007199254740993", "-123456789012345678901234567890", "18446744073709551616", "1234567890123456789"])
def test_integers_are_never_rounded(text: str) -> None:
    assert encode(decode(text.encode())) == text.encode()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_text_reads_back_as_the_same_float(value: float) -> None:
    text = float_text(value)

    assert float(text) == value and math.copysign(1, float(text)) == math.copysign(1, value)
    assert ("e" in text) == (value != 0 and not 1e-6 <= abs(value) < 1e21)


LEAVES = st.none() | st.booleans() | st.text() | st.integers()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_everything_but_floats_keeps_its_value(value: object) -> None:
    stored = encode(decode(json.dumps(value).encode()))

    assert json.loads(stored) == value


def test_what_follows_the_first_value_is_ignored() -> None:
    assert decode(b'{"a":1} {"b":') == {"a": 1}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", "EOF"),
        (b" \n", "EOF"),
        (b"nul", "unexpected EOF"),
        (b'[{"a":1}', "unexpected EOF"),
        (b"\xef\xbb\xbf[]", "invalid character 'ï' looking for beginning of value"),
        (b'[{"a" "b"}]', "invalid character '\"' after object key"),
        (b'{"a":1e400}', "json: cannot unmarshal number 1e400 into Go value of type float64"),
    ],
)
def test_wrong_text_is_refused_in_the_decoders_words(text: bytes, error: str) -> None:
    with pytest.raises(JsonError) as caught:
        decode(text)

    assert str(caught.value) == error


def test_lone_surrogates_and_bad_bytes_become_the_replacement_character() -> None:
    assert decode(b'{"\\ud800":["\xff"]}') == {"�": ["�"]}
    assert orjson.loads(encode(decode(b'"\\ud800 1.0"'))) == "� 1.0"
