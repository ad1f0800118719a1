"""What a server says to requests that are no call, or a broken one: HTTP status, gRPC status and words are grpc-go's."""

from __future__ import annotations

import gzip
import socket
from typing import Any
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import pytest

from tests.unit.edge.rpc.serving import serving

Fields = dict[str, str]


def ask(port: int, changed: dict[str, str | None], body: bytes) -> tuple[str, str, str]:
    """HTTP status, gRPC status and message of one request. changed: fields that differ from a good one's, None = left out."""
    fields: dict[str, str | None] = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": "/t/Echo"}
    fields |= {"content-type": "application/grpc", "te": "trailers"} | changed
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        connection.initiate_connection()
        connection.send_headers(1, [(name, value) for name, value in fields.items() if value is not None])
        connection.send_data(1, body, end_stream=True)
        wire.sendall(connection.data_to_send())
        found: Fields = {}
        while True:
            data = wire.recv(65536)
            assert data, found
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    found |= dict(event.headers)  # type: ignore[arg-type]
                if isinstance(event, h2.events.StreamEnded):
                    return found[":status"], found.get("grpc-status", ""), unquote(found.get("grpc-message", ""))
            wire.sendall(connection.data_to_send())


def message(data: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(data).to_bytes(4, "big") + data


BAD_BIN = 'malformed binary metadata "ab!" in header "x-bin": illegal base64 data'
UNZIP = "grpc: failed to decompress the message: "
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
