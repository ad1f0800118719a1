"""Where a request body ends: Content-Length or chunked (RFC 9112 §6, §7.1), to the byte, because the next request follows."""

from __future__ import annotations

import re
from typing import Protocol

MAX_LINE = 4096
MAX_OVERHEAD = 16 << 10

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n\0]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*")


class Malformed(Exception):
    """The framing of the body is wrong: nothing after it on this connection can be trusted."""


class Framing(Protocol):
    """Cuts a body out of a connection's bytes. done: the body is complete. left: bytes still to come, None when unknown."""

    done: bool

    @property
    def left(self) -> int | None: ...
    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Body bytes in `data`, and what follows the body (empty unless done). Raises Malformed."""
        ...


class Fixed:
    """A body of a known length."""

    __slots__ = ("done", "left")

    def __init__(self, length: int) -> None:
        self.left: int = length
        self.done = length == 0

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        size = len(data)
        if size < self.left:
            self.left -= size
            return data, b""
        rest, data = data[self.left :], data[: self.left]
        self.left, self.done = 0, True
        return data, rest


class Chunked:
    """A chunked body; extensions and trailers are read and dropped, within limits."""

    __slots__ = ("_buffer", "_chunk", "_overhead", "_trailers", "done")

    left = None

    def __init__(self) -> None:
        self._buffer = b""
        self._chunk = 0  # bytes that the current chunk still lacks, its closing CRLF included
        self._overhead = 0
        self._trailers = False
        self.done = False

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        data = self._buffer + data if self._buffer else data
        self._buffer = b""
        pieces: list[bytes] = []
        position = 0
        while not self.done:
            position, more = self._chunk_data(data, position, pieces) if self._chunk else self._line(data, position)
            if not more:
                self._buffer = data[position:]
                return b"".join(pieces), b""
        return b"".join(pieces), data[position:]

    def _chunk_data(self, data: bytes, position: int, pieces: list[bytes]) -> tuple[int, bool]:
        available = len(data) - position
        wanted = self._chunk - 2
        if wanted > 0:
            size = min(wanted, available)
            pieces.append(data[position : position + size])
            self._chunk -= size
            return position + size, size == wanted
        if data[position : position + 2] == b"\r\n":
            self._chunk = 0
            return position + 2, True
        if available < 2 and data[position:] in (b"", b"\r"):
            return position, False
        raise Malformed("chunk data without CRLF")

    def _line(self, data: bytes, position: int) -> tuple[int, bool]:
        """A size line or a trailer line."""
        end = data.find(b"\r\n", position, position + MAX_LINE)
        if end < 0:
            if len(data) - position >= MAX_LINE or data.find(b"\n", position) >= 0:
                raise Malformed("bad line in a chunked body")
            return position, False
        self._count(end - position)
        if self._trailers:
            self._trailer(data[position:end])
        else:
            self._size(data[position:end])
        return end + 2, True

    def _size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise Malformed("bad chunk size")
        size = int(match[1], 16)
        if size:
            self._chunk = size + 2
            self._overhead = max(0, self._overhead - size)
        else:
            self._trailers = True

    def _trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
        elif not _TRAILER.fullmatch(line):
            raise Malformed("bad trailer")

    def _count(self, size: int) -> None:
        """Bytes that are no payload are bounded (as Go does), or a sender could keep us busy for ever with one-byte chunks."""
        self._overhead += size
        if self._overhead > MAX_OVERHEAD:
            raise Malformed("chunked body with too much overhead")
