"""Which fields a request may have (RFC 9113 §8.2.1, as Go's HTTP/2 refuses them)."""

from __future__ import annotations

import pytest

from edge.rpc.frames import H2, StreamFault
from edge.rpc.request import check_fields, read_request


@pytest.mark.parametrize("name", ["", "x a", "x\r\ny", "X-Upper", "x:", ":path", "x\0", "é", "connection", "x\t"])
def test_a_name_that_is_no_token_is_malformed(name: str) -> None:
    with pytest.raises(StreamFault) as caught:
        check_fields([(name, "1")], 1)

    assert caught.value.code == H2.PROTOCOL_ERROR


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "\n", "a\0b", "a\x7f", "\x1b[2J"])
def test_a_value_with_control_characters_is_malformed(value: str) -> None:
    with pytest.raises(StreamFault):
        check_fields([("x-a", value)], 1)


@pytest.mark.parametrize("value", ["", " a", "a\tb", "é", "\udcff", "\u2028"])
def test_other_values_pass(value: str) -> None:
    assert check_fields([("x-a_b.c~", value), ("content-length", "3")], 1) == 3


@pytest.mark.parametrize("aim", [[(":path", "/")], [(":scheme", "http")], [(":scheme", "http"), (":path", "/")]])
def test_connect_with_a_path_or_a_scheme_is_malformed(aim: list[tuple[str, str]]) -> None:
    with pytest.raises(StreamFault):
        read_request([(":method", "CONNECT"), *aim, (":authority", "x")], 1)

    assert read_request([(":method", "CONNECT"), (":authority", "x")], 1).path == ""
