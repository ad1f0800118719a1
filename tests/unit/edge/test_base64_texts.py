"""Payloads of a bulk publish: what is wrong with base64 is told as Go's decoder tells it (answers of encoding/base64)."""

from __future__ import annotations

import pytest

from edge.api.http.pubsub import event_bytes

WRONG = {"aGk=,": 4, "aGk=x": 4, "a=": 1, "aG=": 3, "aG=x": 2, "aG==x": 4, "=": 0, "aGk": 0, "a": 0, "!!": 0}
WRONG |= {"aGkx!": 4, "aG k=": 2, "aGk=====": 4, "aGkxa": 4, "abcd=": 4, "ab=c": 2}


@pytest.mark.parametrize(("text", "place"), WRONG.items())
def test_the_place_is_the_one_that_go_names(text: str, place: int) -> None:
    with pytest.raises(ValueError, match=f"at input byte {place}$"):
        event_bytes(text, "application/octet-stream")


@pytest.mark.parametrize(("text", "data"), [("", b""), ("aGk=", b"hi"), ("a\nGk=", b"hi"), ("aGkh", b"hi!")])
def test_good_texts_are_bytes(text: str, data: bytes) -> None:
    assert event_bytes(text, "application/octet-stream") == data


@pytest.mark.parametrize(
    ("event", "content_type", "data"),
    [
        ({"b": 1, "a": "<"}, "application/json", b'{"a":"\\u003c","b":1}'),
        ("wörds", "text/plain", "wörds".encode()),
        ("AQID", "application/octet-stream", b"\x01\x02\x03"),
        (None, "application/json", b"null"),
    ],
)
def test_bulk_entry_is_read_by_its_content_type(event: object, content_type: str, data: bytes) -> None:
    assert event_bytes(event, content_type) == data


@pytest.mark.parametrize(
    ("event", "content_type", "error"),
    [
        ({"a": 1}, "text/plain", "error: mismatch between contentType and event"),
        ({"a": 1}, "", "error: mismatch between contentType and event"),
        ("***", "application/octet-stream", "unable to decode base64 application/octect-stream data: illegal base64 data at input byte 0"),
        ("QUI", "application/octet-stream", "unable to decode base64 application/octect-stream data: illegal base64 data at input byte 0"),
    ],
)
def test_bulk_entry_of_another_kind_is_refused(event: object, content_type: str, error: str) -> None:
    with pytest.raises(ValueError) as caught:
        event_bytes(event, content_type)

    assert str(caught.value).endswith(error)
