"""Standard base64 as Go's decoder takes it, and refuses it with the place (encoding/base64 StdEncoding)."""

from __future__ import annotations

import base64
import string

ALPHABET = frozenset(string.ascii_letters + string.digits + "+/")
QUANTUM = 4


def decode(text: str) -> bytes:
    """The bytes; line breaks do not count. Raises ValueError with Go's text."""
    plain = text.replace("\r", "").replace("\n", "") if "\n" in text or "\r" in text else text
    try:
        if len(plain) % QUANTUM:
            raise ValueError
        return base64.b64decode(plain, validate=True)
    except ValueError:
        raise ValueError(f"illegal base64 data at input byte {_wrong_at(plain)}") from None


def _wrong_at(text: str) -> int:
    """At a strange character, at misplaced padding, behind the end, or at the last quantum."""
    at = next((at for at, char in enumerate(text) if char not in ALPHABET), None)
    if at is None:
        return len(text) // QUANTUM * QUANTUM
    if text[at] != "=" or at % QUANTUM < 2:
        return at
    if at % QUANTUM == 3:
        return at + 1
    if at + 1 == len(text):
        return len(text)
    return at + 2 if text[at + 1] == "=" else at
