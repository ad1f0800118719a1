"""gRPC messages in a byte stream: a flag, four bytes of length, the message; gzip on request of the peer (Length-Prefixed-Message)."""

from __future__ import annotations

import zlib

from edge.errors import Grpc
from edge.rpc.status import Undecoded

PREFIX = 5
GZIP = 31  # zlib's window bits for a gzip stream
GZIP_HEAD = 10
ENCODINGS = ("", "identity", "gzip")
GZIP_MAGIC = b"\x1f\x8b\x08"
MOST_ZIPPED = 64 << 10  # larger messages go as they are: the loop would wait for them
UNZIP, UNREAD = "grpc: failed to decompress the message: ", "grpc: failed to read decompressed data: "


def prefix(size: int) -> bytes:
    """What stands before an uncompressed message of `size` bytes."""
    return size.to_bytes(PREFIX, "big")


def prefixed(message: bytes, zipped: bool) -> bytes:
    """The message as it is sent. zipped: to a caller who sends gzip itself; an empty one is not (as grpc-go)."""
    if not zipped or not 0 < len(message) <= MOST_ZIPPED:
        return prefix(len(message)) + message
    packed = zlib.compress(message, 1, GZIP)
    return b"\1" + len(packed).to_bytes(PREFIX - 1, "big") + packed


def whole(data: bytes) -> bool:
    """`data` is exactly one uncompressed message with its prefix: the common case of a unary call."""
    return len(data) >= PREFIX and data[0] == 0 and int.from_bytes(data[1:PREFIX], "big") == len(data) - PREFIX


class Messages:
    """Puts messages together. limit: bytes of one message, <= 0 none; encoding: the peer's `grpc-encoding`."""

    __slots__ = ("_encoding", "_have", "_limit", "_parts", "_size")

    def __init__(self, limit: int, encoding: str = "") -> None:
        self._limit = limit
        self._encoding = encoding
        self._parts: list[bytes] = []
        self._have = 0
        self._size = -1  # of the message under way with its prefix, -1 = the prefix is not complete

    @property
    def unfinished(self) -> int:
        """Bytes held of a message that is not complete."""
        return self._have

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes. Raises Undecoded: too large (grpc-go's text), or an encoding that nobody has here."""
        found = []
        self._parts.append(data)
        self._have += len(data)
        while self._have >= PREFIX:
            if self._size < 0:
                self._join()
                self._size = PREFIX + int.from_bytes(self._parts[0][1:PREFIX], "big")
                self._check(self._size - PREFIX)
            if self._have < self._size:
                break
            self._join()
            held = self._parts[0]
            found.append(self._read(held[0], held[PREFIX : self._size]))
            self._parts = [held[self._size :]]
            self._have -= self._size
            self._size = -1
        return found

    def _join(self) -> None:
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]

    def _check(self, size: int) -> None:
        if 0 < self._limit < size:
            raise Undecoded(Grpc.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {self._limit})")

    def _read(self, flag: int, message: bytes) -> bytes:
        if not flag:
            return message
        if flag != 1:
            raise Undecoded(Grpc.INTERNAL, f"grpc: received unexpected payload format {flag}")
        if self._encoding in ("", "identity"):
            raise Undecoded(Grpc.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
        if self._encoding != "gzip":
            raise Undecoded(Grpc.UNIMPLEMENTED, f'grpc: Decompressor is not installed for grpc-encoding "{self._encoding}"')
        return self._unzip(message)

    def _unzip(self, message: bytes) -> bytes:
        """The message, of one gzip member or several."""
        found, size, problem, rest = [], 0, _no_header(message) if message else "EOF", message
        if problem:
            raise Undecoded(Grpc.INTERNAL, f"{UNZIP}{problem}")
        while rest and not problem:
            unzip = zlib.decompressobj(GZIP)
            try:
                data = unzip.decompress(rest, self._limit + 1 - size if self._limit > 0 else 0)
            except zlib.error as error:
                problem = "gzip: invalid checksum" if "check" in str(error) else "flate: corrupt input"
                break
            found.append(data)
            size += len(data)
            if 0 < self._limit < size:
                raise Undecoded(Grpc.RESOURCE_EXHAUSTED, f"grpc: received message after decompression larger than max {self._limit}")
            rest = unzip.unused_data
            problem = "unexpected EOF" if not unzip.eof else _no_header(rest) if rest else ""
        if problem:
            raise Undecoded(Grpc.INTERNAL, f"{UNREAD}{problem}")
        return b"".join(found)


def _no_header(data: bytes) -> str:
    """Why no gzip member begins there, "" when one does."""
    if len(data) < GZIP_HEAD:
        return "unexpected EOF"
    return "" if data.startswith(GZIP_MAGIC) else "gzip: invalid header"
