"""HTTP/2 on the HTTP/1.1 port: prior knowledge and the h2c upgrade (RFC 7540 §3.2). The protocol is the caller's."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Callable
from typing import Protocol

from edge.http1.head import has_token
from edge.http1.messages import Request
from edge.reading import Reading

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class H2Protocol(Protocol):
    """What `h2(handler)` returns: an asyncio.Protocol that serves HTTP/2 on a transport that is already connected.

    After the preface: connection_made(transport), then data_received(everything read so far, the preface included).
    After an h2c upgrade (the 101 is written): connection_made(transport), upgraded(request, settings), then data_received(rest);
    `request` is answered as stream 1, `settings` is the payload of the client's SETTINGS frame.
    shutdown(): send GOAWAY, let streams finish, close the transport when none is left.
    """

    def connection_made(self, transport: asyncio.Transport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def upgraded(self, request: Request, settings: bytes) -> None: ...
    def shutdown(self) -> None: ...


def is_preface(data: bytes) -> bool:
    """Whether a connection that starts with `data` (a whole head) speaks HTTP/2; its last line may still be on the way."""
    return data.startswith(PREFACE[: len(data)]) and len(data) >= len(b"PRI * HTTP/2.0\r\n\r\n")


def upgrade_settings(request: Request) -> bytes | None:
    """The SETTINGS payload of an h2c upgrade, None when `request` does not ask for one (or asks wrongly: it then stays HTTP/1.1)."""
    headers = request.headers
    if not has_token(headers, "upgrade", "h2c") or not has_token(headers, "connection", "http2-settings"):
        return None
    encoded = headers.get_all("http2-settings")
    if len(encoded) != 1 or not has_token(headers, "connection", "upgrade"):
        return None
    text = encoded[0].translate({ord("-"): "+", ord("_"): "/"}).encode("ascii", "replace")
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        return None


class Upgraded(Reading):
    """Keeps an HTTP/2 connection among its server's, and passes everything on."""

    def __init__(self, forget: Callable[[Upgraded], None], transport: asyncio.Transport, h2: H2Protocol) -> None:
        self._forget = forget
        self._transport = transport
        self._h2 = h2
        self.data_received = h2.data_received  # type: ignore[method-assign]
        self.eof_received = h2.eof_received  # type: ignore[method-assign]
        self.pause_writing = h2.pause_writing  # type: ignore[method-assign]
        self.resume_writing = h2.resume_writing  # type: ignore[method-assign]

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget(self)
        self._h2.connection_lost(exc)

    def shutdown(self) -> None:
        """Let the streams in flight finish, then close."""
        self._h2.shutdown()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()
