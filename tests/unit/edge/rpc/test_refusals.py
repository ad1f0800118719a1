"""What a server says to requests that are no call, or a broken one: HTTP status, gRPC status and words are grpc-go's."""

from __future__ import annotations

import gzip
from typing import Any
from urllib.parse import unquote

import pytest

from tests.raw_grpc import blocks, message
from tests.unit.edge.rpc.serving import serving


def ask(port: int, changed: dict[str, str | None], body: bytes) -> tuple[str, str, str]:
    """HTTP status, gRPC status and message of one request."""
    found = {name: value for block in blocks(port, changed, body) for name, value in block.items()}
    return found[":status"], found.get("grpc-status", ""), unquote(found.get("grpc-message", ""))


BAD_BIN = 'malformed binary metadata "ab!" in header "x-bin": illegal base64 data'
UNZIP, UNREAD = "grpc: failed to decompress the message: ", "grpc: failed to read decompressed data: "
AS_GZIP: dict[str, str | None] = {"grpc-encoding": "gzip"}
ZIPPED = gzip.compress(b"hi")
CASES: dict[str, tuple[dict[str, str | None], bytes, tuple[str, str, str]]] = {
    "good": ({}, message(b"hi"), ("200", "0", "")),
    "no content type": ({"content-type": None}, message(b""), ("415", "3", 'invalid gRPC request content-type ""')),
    "JSON": ({"content-type": "application/json"}, b"{}", ("415", "3", 'invalid gRPC request content-type "application/json"')),
    "PUT": ({":method": "PUT"}, message(b""), ("405", "13", 'Received a HEADERS frame with :method "PUT" which should be POST')),
    "odd timeout": (
        {"grpc-timeout": "5x"}, message(b""), ("400", "13", 'malformed grpc-timeout: transport: timeout unit is not recognized: "5x"'),
    ),
    "no time": ({"grpc-timeout": "0n"}, message(b""), ("200", "4", "context deadline exceeded")),
    "odd binary metadata": (
        {"x-bin": "ab!"}, message(b""), ("400", "13", f"{BAD_BIN} at input byte 2"),
    ),
    "unknown encoding": (
        {"grpc-encoding": "snappy"}, message(b"hi"), ("200", "12", 'grpc: Decompressor is not installed for grpc-encoding "snappy"'),
    ),
    "gzip": ({"grpc-encoding": "gzip"}, message(gzip.compress(b"hi"), 1), ("200", "0", "")),
    "no gzip": ({"grpc-encoding": "gzip"}, message(b"x" * 20, 1), ("200", "13", f"{UNZIP}gzip: invalid header")),
    "half a gzip": ({"grpc-encoding": "gzip"}, message(b"xx", 1), ("200", "13", f"{UNZIP}unexpected EOF")),
    "an empty gzip": (AS_GZIP, message(b"", 1), ("200", "13", f"{UNZIP}EOF")),
    "a gzip cut off": (AS_GZIP, message(ZIPPED[:-3], 1), ("200", "13", f"{UNREAD}unexpected EOF")),
    "a gzip and more": (AS_GZIP, message(ZIPPED + b"zz", 1), ("200", "13", f"{UNREAD}unexpected EOF")),
    "a gzip and no gzip": (AS_GZIP, message(ZIPPED + b"z" * 20, 1), ("200", "13", f"{UNREAD}gzip: invalid header")),
    "a gzip with a wrong sum": (AS_GZIP, message(ZIPPED[:-1] + b"z", 1), ("200", "13", f"{UNREAD}gzip: invalid checksum")),
    "half a prefix on a stream": ({":path": "/t/Chat"}, b"\0\0\0", ("200", "0", "")),
    "half a message on a stream": ({":path": "/t/Chat"}, message(b"four")[:-2], ("200", "13", "unexpected EOF")),
    "flag without encoding": ({}, message(b"hi", 1), ("200", "13", "grpc: compressed flag set with identity or empty encoding")),
    "odd flag": ({}, message(b"hi", 2), ("200", "13", "grpc: received unexpected payload format 2")),
    "nothing": ({}, b"", ("200", "2", "EOF")),
    "half a prefix": ({}, b"\0\0\0", ("200", "2", "EOF")),
    "half a message": ({}, message(b"four")[:-2], ("200", "2", "unexpected EOF")),
    "two messages": ({}, message(b"one") + message(b"two"), ("200", "0", "")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_request_is_answered_in_the_words_of_grpc_go(name: str) -> None:
    changed, body, expected = CASES[name]

    with serving() as (port, *_):
        found: Any = ask(port, changed, body)

    assert found == expected


KINDS = {
    "application/grpc": "application/grpc",
    "application/grpc+proto": "application/grpc+proto",
    "application/grpc+": "application/grpc",
    "application/grpc;charset=utf-8": "application/grpc+charset=utf-8",
    "application/grpc+PROTO; x": "application/grpc+PROTO; x",
    "Application/Grpc": "application/grpc",
    "text/plain": "application/grpc",
}


@pytest.mark.parametrize("sent", KINDS)
def test_answer_has_the_subtype_of_the_request(sent: str) -> None:
    with serving() as (port, *_):
        served = blocks(port, {"content-type": sent}, message(b"hi"))
        refused = blocks(port, {"content-type": sent, "grpc-timeout": "5x"}, message(b"hi"))

    assert (served[0]["content-type"], refused[0]["content-type"]) == (KINDS[sent], KINDS[sent])


@pytest.mark.parametrize("path", ["/t/Echo", "/t/Chat"])
@pytest.mark.parametrize(("sent", "encoding"), [("gzip", "gzip"), ("identity", None), (None, None)])
def test_who_sends_gzip_is_told_that_the_answer_may_be(path: str, sent: str | None, encoding: str | None) -> None:
    with serving() as (port, *_):
        served = blocks(port, {":path": path, "grpc-encoding": sent}, message(b"hi"))
        refused = blocks(port, {":path": "/t/Refuse", "grpc-encoding": sent}, message(b"hi"))

    assert served[0].get("grpc-encoding") == encoding
    assert "grpc-encoding" not in refused[0]


def test_status_ends_with_a_message_even_if_it_is_empty() -> None:
    with serving() as (port, *_):
        head, trailers = blocks(port, {}, message(b"hi"))

    assert head == {":status": "200", "content-type": "application/grpc"}
    assert trailers == {"grpc-status": "0", "grpc-message": ""}
