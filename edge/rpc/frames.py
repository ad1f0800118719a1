"""HTTP/2 frames: numbers, sizes, errors and how one is written (RFC 9113 §4, §6, §7)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_SIZE = 9
MAX_FRAME = 16384  # what we accept, and what every peer must
MAX_WINDOW = 2**31 - 1
FIRST_WINDOW = 65535
MAX_STREAM_ID = 2**31 - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

unpack_head = Struct(">HBBBL").unpack_from
"""(length >> 8, length & 255, type, flags, stream id with the reserved bit) at an offset."""
_pack_head = Struct(">LBL").pack
unpack_long = Struct(">L").unpack_from
_setting = Struct(">HL")


class H2(IntEnum):
    """Error codes of RST_STREAM and GOAWAY."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Setting(IntEnum):
    """Parameters of a SETTINGS frame."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ConnectionFault(Exception):
    """The peer broke the protocol: GOAWAY with this code and reason, then the connection ends."""

    def __init__(self, code: H2, reason: str = "") -> None:
        super().__init__(f"{code.name}: {reason}" if reason else code.name)
        self.code = code
        self.reason = reason


class StreamFault(Exception):
    """The peer broke the protocol on one stream: RST_STREAM with this code; the others go on."""

    def __init__(self, stream_id: int, code: H2) -> None:
        super().__init__(f"stream {stream_id}: {code.name}")
        self.stream_id = stream_id
        self.code = code


def head(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a payload of `length` bytes."""
    return _pack_head(length << 8 | kind, flags, stream_id)


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return _pack_head(len(payload) << 8 | kind, flags, stream_id) + payload


def header_frames(stream_id: int, block: bytes, flags: int, limit: int) -> bytes:
    """A header block as one HEADERS frame, or with CONTINUATION frames where it is longer than `limit`."""
    if len(block) <= limit:
        return frame(HEADERS, flags | END_HEADERS, stream_id, block)
    parts = [frame(HEADERS, flags, stream_id, block[:limit])]
    for start in range(limit, len(block), limit):
        last = END_HEADERS if start + limit >= len(block) else 0
        parts.append(frame(CONTINUATION, last, stream_id, block[start : start + limit]))
    return b"".join(parts)


def settings_frame(values: Iterable[tuple[Setting, int]]) -> bytes:
    """Our parameters."""
    return frame(SETTINGS, 0, 0, b"".join(_setting.pack(key, value) for key, value in values))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The peer's parameters in order, unknown ones included. Raises ConnectionFault on a bad length or value (§6.5.2)."""
    if len(payload) % _setting.size:
        raise ConnectionFault(H2.FRAME_SIZE_ERROR, "SETTINGS length")
    found: list[tuple[int, int]] = list(_setting.iter_unpack(payload))
    for key, value in found:
        if key == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(H2.PROTOCOL_ERROR, "ENABLE_PUSH")
        if key == Setting.INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise ConnectionFault(H2.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE")
        if key == Setting.MAX_FRAME_SIZE and not MAX_FRAME <= value <= 2**24 - 1:
            raise ConnectionFault(H2.PROTOCOL_ERROR, "MAX_FRAME_SIZE")
    return found


def reset_frame(stream_id: int, code: int) -> bytes:
    """RST_STREAM."""
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


def goaway_frame(last: int, code: int, reason: str = "") -> bytes:
    """GOAWAY; reason is debug data that grpc clients show."""
    return frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + reason.encode())


def window_frame(stream_id: int, size: int) -> bytes:
    """WINDOW_UPDATE."""
    return frame(WINDOW_UPDATE, 0, stream_id, size.to_bytes(4, "big"))
