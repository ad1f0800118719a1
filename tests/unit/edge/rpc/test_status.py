"""Status, timeouts and metadata as gRPC writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.rpc.status import (
    decode_bin,
    decode_message,
    encode_bin,
    encode_message,
    format_timeout,
    parse_timeout,
    read_trailers,
    trailer_fields,
)


@given(st.text())
def test_messages_survive_percent_encoding(text: str) -> None:
    encoded = encode_message(text)

    assert encoded.isascii()
    assert decode_message(encoded) == text.encode("utf-8", "replace").decode()


def test_percent_encoding_is_that_of_the_specification() -> None:
    assert encode_message("\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n") == (
        "%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A"
    )
    assert decode_message("100%") == "100%"


@pytest.mark.parametrize(("text", "seconds"), [("1S", 1.0), ("250m", 0.25), ("3M", 180.0), ("2H", 7200.0), ("5u", 5e-6), ("7n", 7e-9)])
def test_timeouts_are_read(text: str, seconds: float) -> None:
    assert parse_timeout(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "S", "1", "1s", "-1S", "123456789S", "1.5S", "٣S"])
def test_malformed_timeouts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"timeout|syntax"):
        parse_timeout(text)


@given(st.floats(0, 3e8))
def test_written_timeouts_are_never_shorter(seconds: float) -> None:
    written = format_timeout(seconds)

    assert len(written) <= 9
    assert seconds <= parse_timeout(written) * 1.0000001 + 1e-9


@given(st.binary())
def test_binary_values_with_or_without_padding(value: bytes) -> None:
    encoded = encode_bin(value)

    assert decode_bin(encoded) == decode_bin(encoded + "=" * (-len(encoded) % 4)) == value


def test_trailers_carry_code_message_and_details() -> None:
    fields = trailer_fields(5, "gone ☺", b"\1\2", [("x-a", "b")])

    assert read_trailers(fields) == (5, "gone ☺", b"\1\2", (("x-a", "b"),))


def test_an_answer_without_status_is_unknown() -> None:
    code, message, _, _ = read_trailers([("x-a", "b")])

    assert (code, message) == (2, "server closed the stream without sending trailers")
