"""JSON in Go's words and Go's bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.gojson import canonical, compact, encode, escape, member, parse, parse_object, quote_bytes
from edge.goscanner import JsonError

OBJECT_ERRORS = [
    (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
    (b"[]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
    (b"3.14", "json: cannot unmarshal number into Go value of type map[string]interface {}"),
    (b'"hello"', "json: cannot unmarshal string into Go value of type map[string]interface {}"),
    (b"true", "json: cannot unmarshal bool into Go value of type map[string]interface {}"),
    (b"high tide", "invalid character 'h' looking for beginning of value"),
    (b"\xff\x00\x10", "invalid character 'ÿ' looking for beginning of value"),
    (b"\x00bytes", "invalid character '\\x00' looking for beginning of value"),
    (b"", "unexpected end of JSON input"),
    (b'{"id":', "unexpected end of JSON input"),
    (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
    (b'{"a" 1}', "invalid character '1' after object key"),
    (b'{"a":1 2}', "invalid character '2' after object key:value pair"),
    (b"[1 2]", "invalid character '2' after array element"),
    (b"1 2", "invalid character '2' after top-level value"),
    (b'"\n"', "invalid character '\\n' in string literal"),
    (b'"\\x"', "invalid character 'x' in string escape code"),
    (b"NaN", "invalid character 'N' looking for beginning of value"),
]


@pytest.mark.parametrize(("text", "error"), OBJECT_ERRORS)
def test_wrong_text_is_refused_in_gos_words(text: bytes, error: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse_object(text)

    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("text", "error"),
    [(b'{"id":', "unexpected EOF"), (b" ", "EOF"), (b"operation=get", "invalid character 'o' looking for beginning of value")],
)
def test_a_stream_that_ends_early_is_unexpected_eof(text: bytes, error: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse(text, stream=True)

    assert str(caught.value) == error


def test_a_stream_ignores_what_follows_its_first_value() -> None:
    assert canonical(b'{"a":1} trailing', stream=True) == b'{"a":1}'


@pytest.mark.parametrize("number", ["42.50", "1e3", "-0", "9007199254740993123", "1184.5", "1.0", "123456789012345678901", "1E5", "0.1e-7"])
def test_numbers_keep_their_text(number: str) -> None:
    assert canonical(f'{{"n" : [{number}]}}'.encode()) == f'{{"n":[{number}]}}'.encode()


def test_keys_are_sorted_and_html_is_escaped() -> None:
    out = canonical('{ "z":"<b>&", "a":"ü釉🔥\u2028" }'.encode())

    assert out == '{"a":"ü釉🔥\\u2028","z":"\\u003cb\\u003e\\u0026"}'.encode()


def test_what_is_no_utf8_becomes_the_replacement_character() -> None:
    assert canonical(b'"\xe2\x82|\\ud800"') == '"\ufffd\ufffd|\ufffd"'.encode()
    assert quote_bytes(b"\xff\xfe\x00A") == b'"\\ufffd\\ufffd\\u0000A"'


@pytest.mark.parametrize("depth", [250, 260, 900])
def test_what_is_nested_deeper_than_orjson_writes_is_written(depth: int) -> None:
    inner = b'{"b":1.50,"a":"<"}'

    assert canonical(b"[" * depth + inner + b"]" * depth) == b"[" * depth + b'{"a":"\\u003c","b":1.50}' + b"]" * depth


def test_lone_surrogates_become_replacement_characters() -> None:
    assert encode({"k\ud800": ["\udfff", {}, [], None, 1.5]}) == '{"k\ufffd":["\ufffd",{},[],null,1.5]}'.encode()


def test_depth_is_bounded() -> None:
    with pytest.raises(JsonError, match="exceeded max depth"):
        canonical(b"[" * 20000 + b"]" * 20000)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON, st.sampled_from([None, 2]), st.booleans())
def test_any_value_reads_back_the_same(value: object, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    out = canonical(text)

    assert json.loads(out) == json.loads(text.decode("utf-8", "replace").replace("\ud800", "\ufffd")) or b"\\ud" in text
    assert canonical(out) == out


@given(st.binary(max_size=30))
def test_every_text_is_either_refused_or_read(data: bytes) -> None:
    try:
        out = canonical(data)
    except JsonError:
        return

    json.loads(out)


def test_encode_writes_plain_values() -> None:
    assert encode({"b": 1, "a": [None, True, "x"]}) == b'{"a":[null,true,"x"],"b":1}'


@given(JSON, st.sampled_from([None, 2]), st.booleans())
def test_a_member_is_kept_as_it_was_written(value: object, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    whole = b'{"a": {"data": 1}, "Data" : 2, "dat\\u0061":%b, "z":[{"data":3}]} {"data":4}' % text

    given = member(whole, "data")

    assert given == text
    assert compact(given) == escape(json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))


def test_a_missing_member_is_none() -> None:
    assert [member(text, "data") for text in (b"{}", b"null", b'"data"', b'{"x":{"data":1}}', b'{"data":null}')] == [None] * 4 + [b"null"]
