"""gRPC's words on HTTP/2: status, timeout and metadata as header fields (grpc/doc/PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Sequence

from edge.errors import Grpc
from edge.rpc.hpack import NO_MESSAGE, Field

CONTENT_TYPE = ("content-type", "application/grpc")
UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
LONGEST = 99_999_999  # a timeout has eight digits at most
LONGEST_DIGITS = 8
ODD = re.compile(r"[^A-Za-z0-9+/]")
FOREVER = 10 * 365 * 24 * 3600.0
ENCODE = re.compile(rb"[^ -$&-~]")
ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})")
GRPC = len(CONTENT_TYPE[1])
# what a server does not hand on as metadata; :authority, user-agent and content-type it does, as grpc-go
RESERVED = frozenset((
    ":method", ":scheme", ":path", "te", "grpc-timeout", "grpc-encoding", "grpc-status", "grpc-message", "grpc-status-details-bin",
    "grpc-message-type",
))  # fmt: skip
FROM_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
FROM_RESET = {0: 13, 7: 14, 8: 1, 11: 8, 12: 7}


class RpcError(Exception):
    """A call that ended with another status than OK.

    details: serialized google.rpc.Status, or b"". trailers: further metadata of the answer, as on the wire.
    headers: what the other side sent first (client side).
    """

    def __init__(
        self, code: int, message: str = "", details: bytes = b"", trailers: Sequence[Field] = (), headers: Sequence[Field] = ()
    ) -> None:
        super().__init__(f"{name(code)}: {message}")
        self.code = code
        self.message = message
        self.details = details
        self.trailers = tuple(trailers)
        self.headers = tuple(headers)


class Undecoded(RpcError):
    """The bytes that came are no message of the call: it ends with this status alone (grpc-go: at once, whatever its handler does)."""


def name(code: int) -> str:
    """`INVALID_ARGUMENT` of 3; an unknown number as digits."""
    return Grpc(code).name if 0 <= code <= Grpc.UNAUTHENTICATED else str(code)


def encode_message(text: str) -> str:
    """grpc-message: UTF-8, percent-encoded outside printable ASCII."""
    raw = text.encode("utf-8", "replace")
    return ENCODE.sub(lambda match: b"%%%02X" % match.group()[0], raw).decode("ascii")


def decode_message(text: str) -> str:
    """The reverse; what is not escaped rightly stays as it is."""
    raw = ESCAPE.sub(lambda match: bytes((int(match.group(1), 16),)), text.encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "replace")


def encode_bin(value: bytes) -> str:
    """A `-bin` value: base64 without padding."""
    return binascii.b2a_base64(value, newline=False).rstrip(b"=").decode("ascii")


def decode_bin(value: str) -> bytes:
    """A `-bin` value, padded or not. Raises ValueError."""
    return binascii.a2b_base64(value + "=" * (-len(value) % 4), strict_mode=True)


def bin_problem(name: str, value: str) -> str:
    """What is wrong with the value of a `-bin` key, in grpc-go's words; "" = nothing. Several values may be joined by commas."""
    for part in value.split(","):
        try:
            decode_bin(part.strip())
        except ValueError:
            found = ODD.search(part)
            at = found.start() if found is not None else max(len(part) - 1, 0)
            return f'malformed binary metadata "{value}" in header "{name}": illegal base64 data at input byte {at}'
    return ""


def parse_timeout(text: str) -> float:
    """Seconds of `grpc-timeout`. Raises ValueError in grpc-go's words."""
    digits, unit = text[:-1], text[-1:]
    if not digits:
        raise ValueError(f'transport: timeout string is too short: "{text}"')
    if len(digits) > LONGEST_DIGITS:
        raise ValueError(f'transport: timeout string is too long: "{text}"')
    if unit not in UNITS:
        raise ValueError(f'transport: timeout unit is not recognized: "{text}"')
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{digits}": invalid syntax')
    return min(int(digits) * UNITS[unit], FOREVER)


def format_timeout(timeout: float) -> str:
    """`grpc-timeout` of seconds, rounded up to the finest unit that has room for it."""
    for unit in "numSMH":
        amount = -int(-timeout // UNITS[unit])
        if amount <= LONGEST:
            return f"{max(amount, 0)}{unit}"
    return f"{LONGEST}H"


def answered_with(content: str) -> Field | None:
    """The content-type of the answer to a request with this one, whose subtype comes back; None: it is no gRPC request."""
    kind, end, subtype = content[:GRPC], content[GRPC : GRPC + 1], content[GRPC + 1 :]
    if kind != CONTENT_TYPE[1] or end not in ("", "+", ";"):
        return None
    return (CONTENT_TYPE[0], f"{kind}+{subtype}") if subtype else CONTENT_TYPE


def metadata(fields: Iterable[Field]) -> list[Field]:
    """What the caller sent as metadata, as grpc-go shows it to a server: values of `-bin` keys still in base64."""
    return [field for field in fields if field[0] not in RESERVED]


def trailer_fields(code: int, message: str = "", details: bytes = b"", extra: Sequence[Field] = ()) -> tuple[Field, ...]:
    """The fields that end a call."""
    fields: list[Field] = [("grpc-status", str(code)), ("grpc-message", encode_message(message)) if message else NO_MESSAGE]
    if details:
        fields.append(("grpc-status-details-bin", encode_bin(details)))
    return (*fields, *extra)


def read_trailers(fields: Sequence[Field]) -> tuple[int, str, bytes, tuple[Field, ...]]:
    """(status, message, details, other metadata) of a call's last fields; a missing status is UNKNOWN."""
    code, message, details, extra = -1, "", b"", []
    for key, value in fields:
        if key == "grpc-status":
            code = int(value) if value.isascii() and value.isdigit() else Grpc.UNKNOWN
        elif key == "grpc-message":
            message = decode_message(value)
        elif key == "grpc-status-details-bin":
            details = _lenient(value)
        elif key[:1] != ":" and key != "content-type":
            extra.append((key, value))
    if code < 0:
        return Grpc.UNKNOWN, message or "server closed the stream without sending trailers", details, tuple(extra)
    return code, message, details, tuple(extra)


def _lenient(value: str) -> bytes:
    try:
        return decode_bin(value)
    except ValueError:
        return b""
