"""One gRPC request as bytes on HTTP/2, and each header block of its answer: what grpcio does not show."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import h2.config
import h2.connection
import h2.events

Fields = dict[str, str]


def message(data: bytes, flag: int = 0) -> bytes:
    """With the prefix."""
    return bytes([flag]) + len(data).to_bytes(4, "big") + data


def blocks(port: int, changed: Mapping[str, str | None], body: bytes) -> list[Fields]:
    """The header blocks of the answer to one request. changed: fields that differ from a good one's, None = left out."""
    fields: dict[str, str | None] = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": "/t/Echo"}
    fields |= {"content-type": "application/grpc", "te": "trailers"} | dict(changed)
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        connection.initiate_connection()
        connection.send_headers(1, [(name, value) for name, value in fields.items() if value is not None])
        connection.send_data(1, body, end_stream=True)
        wire.sendall(connection.data_to_send())
        found: list[Fields] = []
        while True:
            data = wire.recv(65536)
            assert data, found
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    found.append(dict(event.headers))  # type: ignore[arg-type]
                if isinstance(event, h2.events.StreamEnded):
                    return found
            wire.sendall(connection.data_to_send())
