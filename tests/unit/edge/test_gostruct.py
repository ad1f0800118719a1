"""Requests read as Go reads them: the texts were seen from daprd."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
import pytest

from edge import gostruct
from edge.blocks import query
from edge.errors import Invalid
from edge.gofloat import decode, decode_marked
from edge.goscanner import JsonError
from edge.gostruct import MapError, Struct, from_map, list_of, printed

OPTIONS = Struct("state.SetStateOption", {"Concurrency": gostruct.text, "Consistency": gostruct.text})
ITEM = Struct(
    "state.SetRequest",
    {"key": gostruct.text, "value": gostruct.anything, "metadata": gostruct.text_map, "options": OPTIONS},
)
BULK = Struct("http.BulkGetRequest", {"keys": list_of(gostruct.or_empty, "string"), "parallelism": gostruct.integer})
OPTION_FIELDS: dict[str, type] = {"Concurrency": str, "Consistency": str}
MAP: Mapping[str, type | Mapping[str, type]] = {"Key": str, "Value": object, "ETag": str, "Metadata": dict, "Options": OPTION_FIELDS}


def test_keys_match_in_any_case_and_unknown_ones_are_skipped() -> None:
    found = ITEM(decode(b'{"KEY":"a","other":1,"Options":{"concurrency":"first-write"}}'))

    assert found == {"key": "a", "options": {"Concurrency": "first-write"}}


def test_null_leaves_a_field_alone() -> None:
    assert ITEM(decode(b'{"key":null,"value":null,"metadata":{"a":null}}')) == {"metadata": {"a": ""}}
    assert ITEM(None) == {}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"7", "json: cannot unmarshal number into Go value of type state.SetRequest"),
        (b'{"key":5}', "json: cannot unmarshal number into Go struct field SetRequest.key of type string"),
        (b'{"options":"x"}', "json: cannot unmarshal string into Go struct field SetRequest.options of type state.SetStateOption"),
        (
            b'{"options":{"concurrency":1.0}}',
            "json: cannot unmarshal number into Go struct field SetStateOption.options.Concurrency of type string",
        ),
        (b'{"metadata":["a"]}', "json: cannot unmarshal array into Go struct field SetRequest.metadata of type map[string]string"),
        (b'{"metadata":{"a":{}}}', "json: cannot unmarshal object into Go struct field SetRequest.metadata of type string"),
    ],
)
def test_a_misfit_is_named_as_go_names_it(body: bytes, error: str) -> None:
    with pytest.raises(JsonError) as caught:
        ITEM(decode(body))

    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"keys":["b1",5]}', "json: cannot unmarshal number into Go struct field BulkGetRequest.keys of type string"),
        (b'{"keys":"a"}', "json: cannot unmarshal string into Go struct field BulkGetRequest.keys of type []string"),
        (b'{"parallelism":1.5}', "json: cannot unmarshal number 1.5 into Go struct field BulkGetRequest.parallelism of type int"),
        (b'{"parallelism":"x"}', "json: cannot unmarshal string into Go struct field BulkGetRequest.parallelism of type int"),
    ],
)
def test_lists_and_integers_are_checked(body: bytes, error: str) -> None:
    with pytest.raises(JsonError) as caught:
        BULK(decode(body))

    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'"k"', "'' expected a map, got 'string'"),
        (b"5", "'' expected a map, got 'float64'"),
        (b'{"key":5}', "1 error(s) decoding:\n\n* 'Key' expected type 'string', got unconvertible type 'float64', value: '5'"),
        (b'{"metadata":["x"]}', "1 error(s) decoding:\n\n* 'Metadata' expected a map, got 'slice'"),
        (
            b'{"key":true,"etag":[1,"x",null]}',
            "2 error(s) decoding:\n\n* 'ETag' expected type 'string', got unconvertible type '[]interface {}', value: '[1 x <nil>]'\n"
            "* 'Key' expected type 'string', got unconvertible type 'bool', value: 'true'",
        ),
        (
            b'{"metadata":{"x":{"y":1}}}',
            "1 error(s) decoding:\n\n* 'Metadata[x]' expected type 'string', "
            "got unconvertible type 'map[string]interface {}', value: 'map[y:1]'",
        ),
    ],
)
def test_a_map_that_does_not_fit_lists_all_problems(body: bytes, error: str) -> None:
    with pytest.raises(MapError) as caught:
        from_map(decode(body), MAP)

    assert str(caught.value) == error


def test_a_fitting_map_is_read_in_any_case() -> None:
    assert from_map({"KEY": "a", "vaLue": 3, "metadata": {"x": None}}, MAP) == {"Key": "a", "Value": 3, "Metadata": {"x": ""}}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (-0.0, "-0"), (12.5, "12.5"), (999999, "999999"), (1000000, "1e+06"), (12345678901, "1.2345678901e+10"),
        (0.0001, "0.0001"), (0.00001, "1e-05"), (1.5e300, "1.5e+300"), (-2.5, "-2.5"),
        ({"b": 1000000, "a": [1, None, "x", True]}, "map[a:[1 <nil> x true] b:1e+06]"),
    ],
)  # fmt: skip
def test_values_are_printed_as_go_prints_them(value: object, text: str) -> None:
    assert printed(value) == text


REQUESTS = gostruct.list_of(
    Struct("state.SetRequest", {"key": gostruct.text, "value": gostruct.anything, "n": gostruct.integer}), "state.SetRequest"
)


@pytest.mark.parametrize("number", ["1e400", "-1E+309", "9" * 310])
@pytest.mark.parametrize(
    ("body", "where"),
    [
        ('[{"value":%s}]', "number {} into Go struct field SetRequest.value of type float64"),
        ('[{"value":{"a":[true,%s]}}]', "number {} into Go struct field SetRequest.value of type float64"),
        ('[{"n":%s}]', "number {} into Go struct field SetRequest.n of type int"),
        ('[{"n":[%s]}]', "array into Go struct field SetRequest.n of type int"),
        ('[{"key":%s}]', "number into Go struct field SetRequest.key of type string"),
        ('[{"key":{"a":%s}}]', "object into Go struct field SetRequest.key of type string"),
        ("[%s]", "number into Go value of type state.SetRequest"),
        ("%s", "number into Go value of type []state.SetRequest"),
    ],
)
def test_a_number_that_is_no_float64_is_refused_where_it_is_read(body: str, where: str, number: str) -> None:
    with pytest.raises(JsonError) as caught:
        REQUESTS(decode_marked((body % number).encode()), "")

    assert str(caught.value) == "json: cannot unmarshal " + where.format(number)


def test_a_number_that_is_no_float64_is_nothing_where_it_is_not_read() -> None:
    found = REQUESTS(decode_marked(b'[{"key":"k","value":[1.50,2],"other":{"n":1e400}}]'), "")

    assert orjson.dumps(found) == b'[{"key":"k","value":[1.5,2]}]'


def test_a_query_with_a_number_that_is_no_float64_is_refused() -> None:
    with pytest.raises(Invalid, match="number 1e400 into Go struct field"):
        query.parse(b'{"filter":{"EQ":{"a":1e400}}}')
