"""How Dapr's Go bindings read the payload and the metadata of a request, where two or more of them share it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

from edge.errors import ComponentError, Invalid

ESCAPE = re.compile(r"\\(?:([abfnrtv\\\"])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.?))", re.DOTALL)
PLAIN = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))
BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")


def unquote(data: bytes) -> bytes:
    """The text of a Go string literal (strconv.Unquote); anything else is returned as it is. JSON strings mostly are such literals."""
    if len(data) >= 2 and data[:1] == data[-1:] == b"`":
        return data if b"`" in data[1:-1] else data[1:-1].replace(b"\r", b"")
    if len(data) < 2 or not data[:1] == data[-1:] == b'"':
        return data
    body = data[1:-1].decode("utf-8", "surrogateescape")
    if "\n" in body or '"' in re.sub(r"\\.", "", body, flags=re.DOTALL):
        return data
    try:
        return ESCAPE.sub(_escaped, body).encode("utf-8", "surrogateescape")
    except ValueError:
        return data


def _escaped(match: re.Match[str]) -> str:
    plain, hexa, octal, short, long, _ = match.groups()
    if plain is not None:
        return PLAIN[plain]
    if hexa is not None or octal is not None:
        value = int(hexa, 16) if hexa is not None else int(octal, 8)
        return bytes((value,)).decode("utf-8", "surrogateescape")  # above 255: ValueError, as Go refuses it
    text = short or long
    if not text or 0xD800 <= int(text, 16) <= 0xDFFF:
        raise ValueError(match[0])
    return chr(int(text, 16))


def unbase64(data: bytes) -> bytes:
    """The decoded bytes if the data are base64 (line breaks allowed), else the data as they are."""
    text = data.replace(b"\n", b"").replace(b"\r", b"")
    return base64.b64decode(text) if len(text) % 4 == 0 and BASE64.fullmatch(text) else data


def ttl(metadata: Mapping[str, str]) -> int | None:
    """`ttlInSeconds` of a request, None when it has none. Raises Invalid in Dapr's words."""
    if not (text := metadata.get("ttlInSeconds", "")):
        return None
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise Invalid(f"ttl value must be a valid integer: actual is '{text}'")
    if int(text) <= 0:
        raise Invalid(f"ttl value must be higher than zero: actual is '{int(text)}'")
    return int(text)


class Answered(ComponentError):
    """The operation failed, and yet there is a response. metadata: the response's."""

    def __init__(self, text: str, metadata: Mapping[str, str]) -> None:
        super().__init__(text)
        self.metadata = metadata
