"""A body without a type gets the type that Go guesses (values of net/http's own tests and of DetectContentType)."""

from __future__ import annotations

import pytest

from edge.http1.sniff import content_type

CASES = [
    (b"<html>x", "text/html; charset=utf-8"),
    (b"\n\t <!DOCTYPE html ", "text/html; charset=utf-8"),
    (b"<htmlx", "text/plain; charset=utf-8"),
    (b"<b", "text/plain; charset=utf-8"),
    (b"  <?xml ", "text/xml; charset=utf-8"),
    (b'{"a":1}', "text/plain; charset=utf-8"),
    (b"\x01\x02", "application/octet-stream"),
    (b"\x00", "application/octet-stream"),
    (b"caf\xe9", "text/plain; charset=utf-8"),
    (b"\xfe\xff\x00\x41", "text/plain; charset=utf-16be"),
    (b"\xef\xbb\xbfa", "text/plain; charset=utf-8"),
    (b"%PDF-1.7", "application/pdf"),
    (b"GIF89a..", "image/gif"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff\xe0", "image/jpeg"),
    (b"RIFF\x00\x00\x00\x00WAVEfmt", "audio/wave"),
    (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "video/mp4"),
    (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isomavc1", "application/octet-stream"),
    (b"\x1f\x8b\x08\x00", "application/x-gzip"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x00asm", "application/wasm"),
    (b" " * 600 + b"\x00", "text/plain; charset=utf-8"),
]


@pytest.mark.parametrize(("body", "wanted"), CASES)
def test_type_is_that_of_go(body: bytes, wanted: str) -> None:
    assert content_type(body) == wanted
