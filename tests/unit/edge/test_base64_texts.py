"""base64 in a bulk publish: what is wrong with it is told as Go's decoder tells it (answers of encoding/base64)."""

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
